"""Take the pictures that the docs show of a study: its live page and its report in Chromium, and the model's heatmaps.

usage: python tools/take_screenshots.py BUCKET STUDY TEST_FOLDER
TEST_FOLDER has a folder of images for each class; of each, the first few are predicted, with heatmaps.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.browser import OpenPage, chromium, open_page
from tuner import names
from tuner.address import Address
from tuner.bucket import open_bucket
from tuner.chief.monitor import ChiefMonitor
from tuner.live_page.serving import PageServing, serving_page
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor, serving
from tuner.study.journal import read_study

HERE = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1200, 1500
OF_EACH_CLASS = 3
COLOURS = 128
"""Of a page's picture: enough for text and lines, and a third of the bytes."""


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket")
    parser.add_argument("study")
    parser.add_argument("test_folder", type=Path)
    arguments = parser.parse_args()
    bucket = open_bucket(arguments.bucket)
    bucket.url = arguments.bucket  # the live page would show a folder's whole path
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        report = Path(name) / "report.html"
        report.write_bytes(bucket.read(names.evaluation(arguments.study, names.REPORT_HTML)))
        with open_page(browser, report.as_uri(), WIDTH) as view:
            take(view, "report")
        monitor = Monitor(Role.CHIEF)
        watched = ChiefMonitor(bucket, arguments.study, monitor)
        watched.show_finished(read_study(bucket, arguments.study))
        watched.evaluation_done()
        with (
            serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address,
            serving_page(watched.page, monitor, PageServing(Address("127.0.0.1", 0), is_shared=True)),
            open_page(browser, f"http://{address}{names.HTTP_PAGE}", WIDTH) as view,
        ):
            view.page.wait_for_selector("#table tbody tr")
            take(view, "live-page")
        predict(arguments.bucket, arguments.study, arguments.test_folder, Path(name))
    for picture in (names.ROBUSTNESS_PNG, names.CALIBRATION_PNG):
        (HERE / picture).write_bytes(bucket.read(names.evaluation(arguments.study, picture)))


def take(view: OpenPage, name: str) -> None:
    """Write the upper part of a page."""
    view.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    path = HERE / f"{name}.png"
    view.page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def predict(bucket: str, study: str, test_folder: Path, folder: Path) -> None:
    """Put the heatmaps of a few images of each class together, a row a class."""
    rows = []
    for class_folder in sorted(test_folder.iterdir()):
        heatmaps = folder / class_folder.name
        command = [sys.executable, "-m", "cifake_tune", "predict", "--bucket", bucket, "--study", study]
        images = sorted(class_folder.iterdir())[:OF_EACH_CLASS]
        subprocess.run([*command, "--heatmap", str(heatmaps), *map(str, images)], check=True)
        rows.append([Image.open(path) for path in sorted(heatmaps.iterdir())])
    wide, high = rows[0][0].size
    whole = Image.new("RGB", (wide * OF_EACH_CLASS, high * len(rows)))
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            whole.paste(picture, (wide * column, high * row))
    whole.save(HERE / "heatmaps.png", optimize=True)


if __name__ == "__main__":
    main()
