"""Answers about new images, in this process: which class, how sure, what is unlike the training images."""

import io
import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.studies import STUDY, Night, brightness_model, pack_images
from tests.support.evaluations import evaluate
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.settings import Study
from tuner.config.space_settings import Space
from tuner.data.decode import read_header
from tuner.errors import BucketError, EnvironmentFailure
from tuner.evaluation.calibration import at_temperature
from tuner.evaluation.image_files import Readable, Unusable, find, read
from tuner.evaluation.input_checks import input_warnings
from tuner.evaluation.predictor import Answer, Predictor, open_predictor
from tuner.evaluation.result import Fit, TrainingProfile

CIFAKE = TrainingProfile(
    height=32, width=32, formats=("JPEG",), resized=False,
    brightness=(20.0, 230.0), contrast=(2.0, 100.0), saturation=(2.0, 150.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> LocalBucket:
    folder = tmp_path_factory.mktemp("predict")
    bucket = LocalBucket(folder / "bucket")
    night = Night(bucket, pack_images(bucket, folder / "images", ("FAKE", "REAL"), 300), Study(name=STUDY))
    night.open()
    night.trial("0", 0.8, brightness_model(folder / "m.keras", sharpness=60))
    night.finish()
    evaluate(bucket, STUDY, folder / "cache")
    return bucket


@pytest.fixture(scope="module")
def predictor(bucket: LocalBucket) -> Predictor:
    return open_predictor(bucket, STUDY)


def saved(path: Path, level: int = 128, mode: str = "RGB", side: int = 8, **options: object) -> Path:
    rng = np.random.default_rng(level)
    pixels = (level + rng.normal(0, 10, (side, side, 3))).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, **options)  # type: ignore[arg-type]
    return path


# ---- answers --------------------------------------------------------------------------------------
def test_the_probability_is_the_models_at_the_fitted_temperature(predictor: Predictor, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", 136)
    (answer,) = predictor.answers([path])
    brightness = np.asarray(Image.open(path)).mean() / 255
    real = 1 / (1 + np.exp(-60 * (brightness - 0.5)))
    assert predictor.metrics.calibration is not None
    expected = at_temperature(np.array([[1 - real, real]]), predictor.metrics.calibration.temperature)[0]
    assert answer.probabilities == pytest.approx({"FAKE": expected[0], "REAL": expected[1]}, abs=1e-4)
    assert answer.prediction == "REAL"
    assert answer.calibration is Fit.FITTED
    assert answer.probability == answer.probabilities["REAL"]
    assert answer.probability != pytest.approx(real, abs=1e-3), "as the model says it, it is not calibrated"


def test_files_and_folders_are_answered_in_order_whatever_is_beside_them(predictor: Predictor, tmp_path: Path) -> None:
    saved(tmp_path / "folder" / "dark.png", 60)
    saved(tmp_path / "folder" / "below" / "light.JPG", 200, format="JPEG")
    (tmp_path / "folder" / "notes.txt").write_text("not an image")
    (tmp_path / "folder" / ".hidden.png").write_bytes(b"junk")
    single = saved(tmp_path / "single.webp", 200)
    answers = list(predictor.answers([single, tmp_path / "folder"]))
    assert [(Path(answer.image).name, answer.prediction, answer.error) for answer in answers] == [
        ("single.webp", "REAL", None),
        ("dark.png", "FAKE", None),
        ("light.JPG", "REAL", None),
    ]


def test_an_image_of_another_size_is_answered_at_the_models(predictor: Predictor, tmp_path: Path) -> None:
    (answer,) = predictor.answers([saved(tmp_path / "large.png", 220, side=64)])
    assert answer.prediction == "REAL"
    resized = "64 x 64 pixels (height x width) and was resized, because the training images are 8 x 8"
    assert any(resized in warning for warning in answer.warnings)


def test_more_images_than_are_read_at_once_are_all_answered(predictor: Predictor, tmp_path: Path) -> None:
    for number in range(300):
        saved(tmp_path / "many" / f"{number:03d}.png", 30 if number % 2 else 220)
    answers = [answer.prediction for answer in predictor.answers([tmp_path / "many"])]
    assert answers == ["REAL", "FAKE"] * 150


def test_without_an_evaluation_there_is_no_model_to_ask(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    night = Night(bucket, pack_images(bucket, tmp_path / "images", ("FAKE", "REAL")), Study(name=STUDY))
    night.open()
    with pytest.raises(EnvironmentFailure, match="no evaluation in") as error:
        open_predictor(bucket, STUDY)
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        (names.METRICS_JSON, b"{", "is damaged"),
        (names.METRICS_JSON, b'{"accuracy": NaN}', "is damaged"),
        (names.BEST_MODEL, b"PK\x03\x04", "the saved model is damaged"),
    ],
)
def test_a_damaged_evaluation_is_told_from_one_that_is_absent(
    bucket: LocalBucket, file: str, data: bytes, says: str
) -> None:
    name = names.evaluation(STUDY, file)
    whole = bucket.read(name)
    try:
        bucket.write(name, data)
        with pytest.raises(BucketError, match=rf"{name}.*{says}") as error:
            open_predictor(bucket, STUDY)
    finally:
        bucket.write(name, whole)
    assert error.value.exit_code == 3


def test_a_model_of_keras_own_layers_needs_no_code_of_the_space_that_it_came_from(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    elsewhere = Space.model_validate({"import": "my_space:MySpace", "code": str(tmp_path / "pod")})
    night = Night(bucket, pack_images(bucket, tmp_path / "images", ("FAKE", "REAL")), Study(name=STUDY))
    night.open()
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras"))
    night.finish()
    evaluate(bucket, STUDY, tmp_path / "cache")
    night.settings = Study(name=STUDY, space=elsewhere)
    night.open()
    (answer,) = open_predictor(bucket, STUDY).answers([saved(tmp_path / "a.png", 220)])
    assert answer.prediction == "REAL"
    assert answer.calibration is not Fit.FITTED, "six validation images do not tell a temperature"


def test_an_evaluation_of_before_calibration_answers_as_the_model_does(bucket: LocalBucket, tmp_path: Path) -> None:
    name = names.evaluation(STUDY, names.METRICS_JSON)
    whole = bucket.read(name)
    old = {k: v for k, v in json.loads(whole).items() if k not in ("calibration", "familiar")}
    try:
        bucket.write(name, json.dumps(old).encode())
        (answer,) = open_predictor(bucket, STUDY).answers([saved(tmp_path / "a.png", 136)])
    finally:
        bucket.write(name, whole)
    assert answer.prediction == "REAL"
    assert answer.warnings == ()


# ---- what cannot be answered ------------------------------------------------------------------------
def huge_png() -> bytes:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def hostile(folder: Path) -> dict[Path, str]:
    """Write files and folders that are no images, each with what is to be said of it."""
    folder.mkdir()
    jpeg = saved(folder / "whole.jpg", side=64, format="JPEG").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "truncated.jpg").write_bytes(jpeg[:-200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no image")
    (folder / "bomb.png").write_bytes(huge_png())
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "nothing").mkdir()
    (folder / "nothing" / "round").symlink_to(folder / "nothing")
    return {
        folder / "truncated.jpg": "damaged",
        folder / "empty.png": "the file is empty",
        folder / "text.jpg": "not an image in a supported format",
        folder / "bomb.png": "claims 60000 x 60000 pixels",
        folder / "loop.png": "cannot be read (Too many levels of symbolic links)",
        folder / "pipe.png": "is not a file",
        folder / "nothing": "is a folder without images",
        folder / "missing.png": "cannot be read (No such file or directory)",
        folder / "zero\0byte": "cannot be read",
    }


def test_each_hostile_file_is_a_sentence_and_the_others_are_answered(predictor: Predictor, tmp_path: Path) -> None:
    bad = hostile(tmp_path / "bad")
    good = saved(tmp_path / "good.png", 220)
    answers = list(predictor.answers([good, *bad, good]))
    assert [answer.prediction for answer in (answers[0], answers[-1])] == ["REAL", "REAL"]
    for (path, sentence), answer in zip(bad.items(), answers[1:-1], strict=True):
        assert answer.error, path
        assert sentence in answer.error, path
        assert "\n" not in answer.error
        assert answer.prediction is None


def test_a_folder_with_hostile_files_in_it_is_read_to_its_end(tmp_path: Path) -> None:
    hostile(tmp_path / "bad")
    saved(tmp_path / "bad" / "good.png")
    paths = [path for path in find([tmp_path / "bad"]) if isinstance(path, Path)]
    kinds = {path.name: type(read(path, 8, 8, None)) for path in paths}
    assert kinds.pop("good.png") is Readable
    assert set(kinds.values()) == {Unusable}


def test_a_folder_below_that_cannot_be_read_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    for place in ("a.png", "gone/b.png", "there/c.png"):
        saved(tmp_path / place)
    paths = find([tmp_path])
    assert next(paths) == tmp_path / "a.png"
    shutil.rmtree(tmp_path / "gone")
    reason = "is a folder that cannot be read (No such file or directory)"
    assert list(paths) == [Unusable(tmp_path / "gone", reason), tmp_path / "there" / "c.png"]


# ---- unlike the training images -----------------------------------------------------------------------
def warnings_of(path: Path) -> str:
    data = path.read_bytes()
    image = read(path, 32, 32, CIFAKE)
    assert isinstance(image, Readable)
    assert image.warnings == input_warnings(CIFAKE, read_header(data), Image.open(path).format or "", image.pixels)
    return "; ".join(image.warnings)


def test_an_image_like_those_of_the_training_has_no_warning(tmp_path: Path) -> None:
    assert warnings_of(saved(tmp_path / "a.jpg", side=32, quality=75)) == ""


@pytest.mark.parametrize(
    ("name", "mode", "side", "level", "sentence"),
    [
        ("a.png", "RGB", 32, 128, "is PNG, but the training images are JPEG, whose compression leaves traces"),
        ("a.jpg", "RGB", 100, 128, "is 100 x 100 pixels (height x width) and was resized, because the training images"),
        ("a.jpg", "L", 32, 128, "is greyscale"),
        ("a.png", "P", 32, 128, "has a palette"),
        ("a.png", "RGBA", 32, 128, "has transparency"),
        ("a.jpg", "CMYK", 32, 128, "CMYK"),
        ("a.jpg", "RGB", 32, 0, "is darker than 999 in 1,000 training images"),
        ("a.jpg", "RGB", 32, 255, "is brighter than 999 in 1,000 training images"),
    ],
)
def test_what_is_unlike_is_said(tmp_path: Path, name: str, mode: str, side: int, level: int, sentence: str) -> None:
    assert sentence in warnings_of(saved(tmp_path / name, level, mode, side))


@pytest.mark.parametrize(("name", "mode"), [("a.png", "I;16"), ("a.tif", "I;16B")])
def test_greyscale_of_16_bits_is_scaled_down_to_8(tmp_path: Path, name: str, mode: str) -> None:
    values = np.linspace(0, 65535, 32 * 32).round().astype(">u2" if mode.endswith("B") else "<u2").reshape(32, 32)
    Image.frombytes(mode, (32, 32), values.tobytes()).save(tmp_path / name)
    image = read(tmp_path / name, 32, 32, CIFAKE)
    assert isinstance(image, Readable), image
    np.testing.assert_array_equal(image.pixels[:, :, 0], (values / 257).round())
    assert "is 16-bit greyscale" in image.warnings


def test_sizes_are_height_by_width(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (120, 90, 60)).save(tmp_path / "a.jpg")
    profile = CIFAKE.model_copy(update={"height": 32, "width": 48})
    image = read(tmp_path / "a.jpg", 32, 48, profile)
    assert isinstance(image, Readable)
    assert image.warnings[0] == (
        "is 30 x 40 pixels (height x width) and was resized, because the training images are 32 x 48"
    )


def test_grey_pixels_in_a_colour_file_are_noticed_too(tmp_path: Path) -> None:
    grey = Image.open(saved(tmp_path / "a.png", side=32)).convert("L").convert("RGB")
    grey.save(tmp_path / "grey.jpg")
    assert "is less colourful than 999 in 1,000 training images" in warnings_of(tmp_path / "grey.jpg")


def test_an_answer_is_printed_as_json_with_all_its_keys() -> None:
    keys = {"image", "prediction", "probability", "probabilities", "calibration", "warnings", "heatmap", "error"}
    assert set(Answer(image="a").model_dump(mode="json")) == keys
