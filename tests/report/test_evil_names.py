"""Names that are markup, formulas or escape sequences: harmless in everything that shows them."""

import csv
import gzip
import io
import json
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table

from tests.evaluation.fixtures import metrics_of
from tests.evaluation.reports import report_of
from tests.support.command_line import run_in_process
from tuner.bucket.local import LocalBucket
from tuner.data.manifest import find_data_sets, read_manifest
from tuner.errors import UsageError
from tuner.evaluation.predictions import predictions, to_csv_gz
from tuner.live_page import json_values
from tuner.monitoring.log_format import JsonFormatter, LogFormat, TextFormatter, error_line, mask_unconfigured_logging
from tuner.names import TrialId
from tuner.printable import LINES, REPLACEMENT, printable, printable_json
from tuner.report.figures.confusion_matrix import confusion_matrix_png
from tuner.report.html_page import report_html
from tuner.report.model_card import model_card
from tuner.report.terminal.console import print_line, print_text
from tuner.report.terminal.evaluation import summary
from tuner.report.terminal.safe_console import SafeConsole
from tuner.report.terminal.search import describe
from tuner.study.tensorboard import event_file
from tuner.study.trial import Trial

CLASSES = ("<img src=x onerror=alert(1)>", "=cmd|' C calc'!A0", "a\nb\x1b[31mred", "|x|`y`[z](javascript:alert(1))")
FILE = "<script>{}\x1b[2J.png"
CONTROLS = "\x1b[31m\x07\x08\r\n\t\x9b\x7f\u202e\u2028\u200b\ud800"
MATRIX = [[9, 1, 1, 1], [0, 12, 0, 0], [2, 0, 10, 0], [0, 0, 0, 12]]


def is_clean(text: str, keep: str = "\n") -> bool:
    return printable(text, keep) == text


@pytest.fixture(scope="module")
def evil_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive whose classes and files have these names."""
    path = tmp_path_factory.mktemp("evil") / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for split, images in (("train", 4), ("test", 2)):
            for index, name in enumerate(CLASSES):
                for number in range(images):
                    rng = np.random.default_rng([index, number, len(split)])
                    data = io.BytesIO()
                    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(data, "PNG")
                    archive.writestr(f"{split}/{name}/{FILE.format(number)}", data.getvalue())
            archive.writestr(f"{split}/{CLASSES[2]}/broken\x1b[2J.png", b"\x1b[2J\x07 is no image")
    return path


def test_data_check_prints_neither_their_escape_sequences_nor_lines_of_their_own(evil_zip: Path) -> None:
    done = run_in_process("data", "check", evil_zip)
    assert done.code == 2
    assert is_clean(done.out)
    assert is_clean(done.err)
    assert done.err.count("\n") == 1
    assert f"a{REPLACEMENT}b{REPLACEMENT}[31mred/broken{REPLACEMENT}[2J.png" in done.out
    report = json.loads(run_in_process("data", "check", "--json", evil_zip).out)
    assert report["classes"] == sorted(CLASSES), "JSON has the names as they are"


def test_they_are_packed_as_they_are_and_their_predictions_are_joined_by_digest(evil_zip: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(evil_zip) as old, zipfile.ZipFile(tmp_path / "whole.zip", "w") as new:
        for name in old.namelist():
            if "broken" not in name:
                new.writestr(name, old.read(name))
    done = run_in_process("data", "pack", tmp_path / "whole.zip", tmp_path / "bucket")
    assert done.code == 0, done.err
    assert is_clean(done.out + done.err)
    bucket = LocalBucket(tmp_path / "bucket")
    manifest = read_manifest(bucket, *find_data_sets(bucket))
    assert manifest.classes == tuple(sorted(CLASSES))
    test = manifest.splits["test"]
    labels = np.repeat(np.arange(len(CLASSES)), test.counts)
    result = predictions(np.eye(len(CLASSES))[labels])
    data = gzip.decompress(to_csv_gz(test.names, test.sha256, labels, result, manifest.classes)).decode()
    assert is_clean(data)
    rows = list(csv.DictReader(io.StringIO(data)))
    assert [row["sha256"] for row in rows] == list(test.sha256)
    formulas = [row for row, name in zip(rows, test.names, strict=True) if name.startswith("=")]
    assert len(formulas) == 2
    assert all(row["name"].startswith("'=") and row["label"].startswith("'=") for row in formulas)


def printed(*renderables: object) -> str:
    file = io.StringIO()
    console = SafeConsole(file=file, width=200, highlight=False, markup=False, emoji=False)
    for renderable in renderables:
        console.print(renderable)
    return file.getvalue()


def test_the_terminals_summary_of_an_evaluation_masks_them() -> None:
    text = printed(summary(metrics_of(MATRIX, CLASSES)))
    assert is_clean(text)
    assert f"a{REPLACEMENT}b{REPLACEMENT}[31mred" in text


def test_a_console_masks_what_nothing_else_has_masked() -> None:
    table = Table(CONTROLS)
    table.add_row(f"x{CONTROLS}x")
    assert is_clean(printed(CONTROLS, table))


def test_a_console_still_prints_its_own_colours() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="standard", highlight=False)
    console.print("a\x1b[2Jb", style="red")
    assert file.getvalue() == f"\x1b[31ma{REPLACEMENT}[2Jb\x1b[0m\n"


def test_a_printed_sentence_is_one_line_whatever_names_are_in_it() -> None:
    file = io.StringIO()
    print_line(SafeConsole(file=file), f"class {CONTROLS} is evil")
    assert file.getvalue().count("\n") == 1
    assert is_clean(file.getvalue())


def test_a_line_of_a_log_is_masked_and_keeps_its_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(f"a\tb{CONTROLS}".replace("\ud800", ""))
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert text.startswith("a\tb")
    assert is_clean(text, keep="\n\t")


def test_the_html_page_has_no_control_characters() -> None:
    page = report_html(report_of(12, tuple(f"{name}{CONTROLS.replace(chr(0xD800), '')}" for name in CLASSES)))
    assert is_clean(page, keep=LINES)
    assert "<img src=x" not in page
    assert "onerror=alert(1)&gt;" in page


def test_the_model_card_has_no_control_characters_and_no_markup() -> None:
    contents = report_of(12, CLASSES)
    assert contents.provenance is not None
    card = model_card(contents.metrics, contents.provenance)
    assert is_clean(card)
    assert r"\<img src=x onerror=alert(1)\>" in card
    assert r"\|x\|\`y\`\[z\](javascript:alert(1))" in card
    assert not any(line.startswith("b") and "red" in line for line in card.splitlines()), "no name begins a line"


@pytest.mark.filterwarnings("error")
def test_the_confusion_matrix_is_drawn_without_a_glyph_that_does_not_exist() -> None:
    assert confusion_matrix_png(metrics_of(MATRIX, CLASSES)).startswith(b"\x89PNG")


def test_errors_and_logs_mask_them() -> None:
    error = UsageError(f"class {CONTROLS} is evil")
    text = error_line(str(error), LogFormat.TEXT)
    assert is_clean(text, keep="")
    record = logging.LogRecord("tuner", logging.INFO, "", 0, "class %s", (CONTROLS,), None)
    assert is_clean(TextFormatter().format(record), keep=LINES)
    mask_unconfigured_logging()
    assert logging.lastResort is not None
    assert is_clean(logging.lastResort.format(record), keep=LINES)
    line = JsonFormatter().format(record)
    assert is_clean(line, keep="")
    assert json.loads(line)["message"] == f"class {CONTROLS}", "JSON keeps the value"


def test_json_keeps_its_value_and_escapes_what_serializers_leave() -> None:
    value = {f"key{CONTROLS}": ["\x85\U000e0001é🙂", CONTROLS]}
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert is_clean(text)
    assert json.loads(text) == value
    assert "é🙂" in text


def test_hyperparameters_are_masked_on_the_terminal_on_the_page_and_for_tensorboard() -> None:
    trial = Trial(TrialId("0"), hyperparameters={f"key{CONTROLS[:-1]}": f"value{CONTROLS[:-1]}"})
    trial.epochs[0], trial.reported[0] = {f"val{CONTROLS[:-1]}": 0.5}, 0.0
    assert is_clean(describe(trial), keep="")
    assert all(is_clean(f"{key}{value}", LINES) for key, value in json_values.hyperparameters(trial.chosen).items())
    event = event_file(trial)
    assert f"val{REPLACEMENT}[31m".encode() in event
    assert b"\x1b[31m" not in event


def test_visible_text_is_left_alone() -> None:
    for text in ("Müller 猫 🙂 e\u0301", "narrow\u202fno-break\u00a0space", "ideographic\u3000space"):
        assert printable(text) == text
