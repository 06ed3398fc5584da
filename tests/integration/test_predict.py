"""`cifake-tune predict` and `report` as a user runs them: words, JSON, exit codes; on TensorFlow and on JAX."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.evaluation.studies import SIDE, Night, pack_images
from tests.integration.in_process import do_here
from tests.integration.support import BACKENDS, Place, place
from tests.support.evaluations import evaluate
from tuner import names
from tuner.config.settings import Study


def convolutional_model(path: Path) -> Path:
    """Save a model for which light anywhere speaks for the second class."""
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(2, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.layers[1].set_weights([np.full((3, 3, 3, 2), 1 / 27), np.zeros(2)])
    model.layers[-1].set_weights([np.full((2, 1), 10.0), np.array([-9.0])])
    model.save(path)
    return path


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("predict")) as new_place:
        night = Night(
            new_place.bucket, pack_images(new_place.bucket, new_place.folder / "images", ("FAKE", "REAL")), Study()
        )
        night.open()
        night.trial("0", 0.8, convolutional_model(new_place.folder / "m.keras"))
        night.finish()
        evaluate(new_place.bucket, new_place.study, new_place.cache)
        for name, level in (("dark", 40), ("light", 230)):
            Image.new("RGB", (SIDE, SIDE), (level,) * 3).save(new_place.folder / f"{name}.png")
        (new_place.folder / "broken.png").write_bytes(b"no image")
        yield new_place


def test_it_says_the_class_how_sure_it_is_and_what_is_unlike_the_training(evaluated: Place) -> None:
    done = do_here(evaluated, "predict", "dark.png", "light.png")
    assert done.code == 0, done.err
    first, *warnings = done.out.splitlines()
    assert first.startswith("dark.png: FAKE ")
    assert first.endswith(" %")
    assert warnings[0].startswith("    unlike the training images: ")
    assert any(line.startswith("light.png: REAL ") for line in warnings)


WAITING = ("importing Keras: ", "loading the model: ", "predicting: ")
"""How lines begin that show that a slow machine is still working."""


def test_a_broken_file_is_a_sentence_and_exit_code_2_and_the_others_are_answered(evaluated: Place) -> None:
    done = do_here(evaluated, "predict", "light.png", "broken.png", "dark.png")
    assert done.code == 2
    assert "light.png: REAL" in done.out
    assert "dark.png: FAKE" in done.out
    assert "broken.png: is not an image" in done.out
    first = "error: 1 of 3 images could not be predicted. The first of them, broken.png, is not an image"
    assert [line for line in done.err.splitlines() if not line.startswith(WAITING)] == [done.err.splitlines()[-1]]
    assert done.err.splitlines()[-1].startswith(first)


def test_a_name_that_would_move_the_cursor_is_printed_without_doing_so(evaluated: Place) -> None:
    """What a process can write to its streams is for a process of its own to say."""
    strange = evaluated.folder / "strange"
    strange.mkdir()
    for name in (b"\x1b[2Jwiped.png", b"\xff\xfe.png"):
        (strange / os.fsdecode(name)).write_bytes((evaluated.folder / "light.png").read_bytes())
    done = evaluated.do("predict", "strange")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert done.out.count("REAL") == 2
    answers = json.loads(evaluated.do("predict", "--json", "strange").out)
    assert [answer["error"] for answer in answers] == [None, None]


@pytest.mark.parametrize("backend", BACKENDS)
def test_heatmaps_show_where_the_light_is_on_either_backend(evaluated: Place, backend: str) -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:5] = 255
    Image.fromarray(pixels).save(evaluated.folder / "above.png")
    line = ("predict", "--json", "--heatmap", f"maps-{backend}", "above.png", "light.png", "light.png")
    done = do_here(evaluated, *line) if backend == keras.backend.backend() else evaluated.do(*line, backend=backend)
    assert done.code == 0, done.err
    above, light, second_light = json.loads(done.out)
    assert above["prediction"] == light["prediction"] == "REAL"
    assert above["probability"] == pytest.approx(sum(above["probabilities"].values()) - above["probabilities"]["FAKE"])
    assert light["heatmap"] != second_light["heatmap"]
    picture = np.asarray(Image.open(evaluated.folder / above["heatmap"]).convert("L"), float)
    right = picture[:, picture.shape[1] // 2 + 4 :]
    assert right[:100].mean() > right[-100:].mean() + 50
    metrics = json.loads(evaluated.bucket.read(names.evaluation(evaluated.study, names.METRICS_JSON)))
    assert metrics["calibration"]["temperature"] > 0


def test_the_report_is_written_again_where_one_wants_it(evaluated: Place) -> None:
    place = names.evaluation(evaluated.study, names.REPORT_HTML)
    evaluated.bucket.delete(place)
    done = do_here(evaluated, "report")
    assert (done.code, done.out.split()) == (0, [f"{evaluated.bucket_folder}/{place}"])
    page = evaluated.bucket.read(place)
    assert do_here(evaluated, "report", "--out", "page.html").code == 0
    assert (evaluated.folder / "page.html").read_bytes() == page
    refused = do_here(evaluated, "report", "--out", "no/such/folder/page.html")
    assert refused.code == 2
    assert "cannot be written (No such file or directory)" in refused.err


def test_a_bucket_without_an_evaluation_is_worth_a_retry(tmp_path: Path) -> None:
    with place(tmp_path / "empty") as new_place:
        night = Night(
            new_place.bucket, pack_images(new_place.bucket, new_place.folder / "images", ("FAKE", "REAL")), Study()
        )
        night.open()
        done = do_here(new_place, "predict", "image.png")
        assert done.code == 3
        assert "has no evaluation" in done.err
