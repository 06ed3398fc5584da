"""The model that is evaluated is the one that was scored: otherwise the test images are not read."""

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.evaluation.studies import CLASSES, STUDY, Night, brightness_model, file, lose_the_test_split
from tests.support.evaluations import evaluate
from tuner import names
from tuner.data.arrays import open_validation
from tuner.data.manifest import read_manifest
from tuner.errors import NoResultError
from tuner.report.terminal.console import make_console
from tuner.report.terminal.evaluation import summary


def validation_accuracy(night: Night, model: Path, cache: Path) -> float:
    study = night.settings
    manifest = read_manifest(night.bucket, night.data.digest)
    arrays = open_validation(night.bucket, manifest, study.data.validation, study.validation_seed, cache)
    second = keras.saving.load_model(model).predict(arrays.images.astype("float32"), verbose=0)[:, 0]
    return float(np.mean((second > 0.5) == arrays.labels))


@pytest.mark.parametrize("verified", [True, None, False])
def test_a_score_that_the_model_has_is_verified(
    night: Night, cache: Path, tmp_path: Path, verified: bool | None
) -> None:
    model = brightness_model(tmp_path / "m.keras", threshold=0.4)
    accuracy = validation_accuracy(night, model, cache)
    # None is how versions that did not check it left it; False means that the worker could not recompute it
    night.trial("0", accuracy, model, verified=verified, returned=False)
    night.finish()
    metrics = evaluate(night.bucket, STUDY, cache)
    assert (metrics.verified, metrics.recomputed_score) == (True, pytest.approx(accuracy))
    report = file(night, names.REPORT_HTML)
    assert b"not verified: it could not be recomputed" not in report
    assert (b"not verified" in report) is (verified is False), "what the worker found is in the table of trials"


@pytest.mark.parametrize("verified", [True, None, False])
def test_a_model_that_was_not_scored_is_not_evaluated_and_the_test_images_are_not_read(
    night: Night, cache: Path, tmp_path: Path, verified: bool | None
) -> None:
    model = brightness_model(tmp_path / "m.keras", threshold=0.0)  # the second class for all images
    night.trial("0", 0.98, model, verified=verified, returned=False)
    night.finish()
    lose_the_test_split(night, cache)
    with pytest.raises(NoResultError) as refusal:
        evaluate(night.bucket, STUDY, cache)
    assert refusal.value.exit_code == 4
    text = str(refusal.value)
    assert "the saved model of trial 0 is not the one that was scored" in text
    assert "the test images were not read" in text
    assert "val_accuracy was reported as 0.9800, but the saved model reaches 0.5000 on all 6 validation images" in text
    assert "keras.layers.Rescaling(1 / 255)" in text
    assert not list(night.bucket.list(names.evaluation(STUDY)))


@keras.saving.register_keras_serializable("test_verification")
def unknown_here(truth: object, output: object) -> object:
    return keras.ops.mean(output)


def without_its_metric(path: Path) -> Path:
    """Save a model with a metric that is no longer registered."""
    model = keras.saving.load_model(brightness_model(path))
    model.compile("adam", "binary_crossentropy", metrics=[unknown_here])
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b"unknown_here", b"forgotten")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("returned", [True, False])
def test_a_score_that_cannot_be_recomputed_is_marked_as_not_verified(
    night: Night, cache: Path, tmp_path: Path, returned: bool
) -> None:
    """Either `fit` returned a number that the model does not have, or its metric cannot be loaded."""
    model = tmp_path / "m.keras"
    night.trial(
        "0", 0.98, brightness_model(model) if returned else without_its_metric(model), verified=False, returned=returned
    )
    night.finish()
    metrics = evaluate(night.bucket, STUDY, cache)
    assert (metrics.verified, metrics.recomputed_score) == (False, None)
    assert b"(0.9800, not verified: it could not be recomputed with the saved model)" in file(night, names.REPORT_HTML)
    assert b"0.9800 (not verified)" in file(night, names.MODEL_CARD)
    console = make_console()
    with console.capture() as printed:
        console.print(summary(metrics))
    assert "val_accuracy 0.9800 (not verified)" in printed.get()
    assert len(metrics.classes) == len(CLASSES)
