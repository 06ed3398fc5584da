"""The model that is evaluated is the one that was scored: otherwise the test images are not read."""

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


@pytest.mark.parametrize("verified", [True, None])
def test_a_score_that_the_model_has_is_verified(
    night: Night, cache: Path, tmp_path: Path, verified: bool | None
) -> None:
    model = brightness_model(tmp_path / "m.keras", threshold=0.4)
    accuracy = validation_accuracy(night, model, cache)
    night.trial("0", accuracy, model, verified=verified)  # None is how versions that did not check it left it
    night.finish()
    metrics = evaluate(night.bucket, STUDY, cache)
    assert (metrics.verified, metrics.recomputed_score) == (True, pytest.approx(accuracy))
    assert b"not verified" not in file(night, names.REPORT_HTML)


@pytest.mark.parametrize("verified", [True, None])
def test_a_model_that_was_not_scored_is_not_evaluated_and_the_test_images_are_not_read(
    night: Night, cache: Path, tmp_path: Path, verified: bool | None
) -> None:
    model = brightness_model(tmp_path / "m.keras", threshold=0.0)  # the second class for all images
    night.trial("0", 0.98, model, verified=verified)
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


def test_a_score_that_cannot_be_recomputed_is_marked_as_not_verified(night: Night, cache: Path, tmp_path: Path) -> None:
    night.trial("0", 0.98, brightness_model(tmp_path / "m.keras"), verified=False)
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
