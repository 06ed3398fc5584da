"""What the evaluator measures beside the accuracy, and its report, on whole studies."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.conftest import Evaluated
from tests.evaluation.studies import (
    CLASSES,
    STUDY,
    Night,
    brightness,
    brightness_model,
    file,
    lose_the_test_split,
)
from tests.support.evaluations import evaluate
from tuner import names
from tuner.config.data_settings import Data
from tuner.config.settings import Evaluation, Study
from tuner.data.arrays import open_training
from tuner.data.manifest import read_manifest
from tuner.errors import EnvironmentFailure
from tuner.evaluation.calibration import fit_temperature
from tuner.evaluation.resampling import exact_mcnemar
from tuner.report.rebuild import make_report
from tuner.report.sprites import cut


def test_the_best_model_is_compared_with_the_runner_up_on_the_same_images(
    night: Night, cache: Path, tmp_path: Path
) -> None:
    night.trial("0", 0.7, brightness_model(tmp_path / "worse.keras", threshold=0.6))
    night.trial("1", 0.8, brightness_model(tmp_path / "best.keras"))
    night.trial("2", 0.6, brightness_model(tmp_path / "third.keras", threshold=0.1))
    night.finish()
    result = evaluate(night.bucket, STUDY, cache).runner_up
    truth = np.repeat([False, True], 30)
    bright = np.concatenate([brightness(night.data.test[name]) for name in CLASSES])
    best, other = (bright > 0.5) == truth, (bright > 0.6) == truth
    assert result is not None
    assert (result.trial, result.score) == ("0", 0.7)
    assert result.accuracy == other.mean()
    assert (result.only_best_right, result.only_runner_up_right) == ((best & ~other).sum(), (other & ~best).sum())
    assert result.p_value == exact_mcnemar(result.only_best_right, result.only_runner_up_right)
    assert result.difference == pytest.approx(best.mean() - other.mean())
    assert result.difference_interval_95[0] < result.difference < result.difference_interval_95[1]


def test_a_runner_up_whose_model_is_lost_costs_the_comparison_only(
    night: Night, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = night.trial("0", 0.7, brightness_model(tmp_path / "worse.keras"))
    night.trial("1", 0.8, brightness_model(tmp_path / "best.keras"))
    night.finish()
    night.bucket.delete(lost)
    metrics = evaluate(night.bucket, STUDY, cache)
    assert metrics.runner_up is None
    assert metrics.images == 60
    assert "cannot compare the best trial with the second best" in caplog.text


@pytest.mark.parametrize(("chosen", "seed"), [(None, 1), (7, 7)])
def test_the_temperature_is_that_of_the_validation_images(
    night: Night, cache: Path, tmp_path: Path, chosen: int | None, seed: int
) -> None:
    night.settings = Study(name=STUDY, data=Data(validation=0.5, validation_seed=chosen))
    night.open()
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras", sharpness=60))
    night.finish()
    result = evaluate(night.bucket, STUDY, cache).calibration
    manifest = read_manifest(night.bucket, night.data.digest)
    held_out = open_training(night.bucket, manifest, 0.5, seed, cache).validation
    real = 1 / (1 + np.exp(-60 * (brightness(held_out.images) - 0.5)))
    assert result is not None
    assert result.fitted_on_images == 30
    expected = fit_temperature(held_out.labels, np.stack([1 - real, real], axis=1))
    assert result.temperature == pytest.approx(expected.best, rel=0.01)
    assert result.temperature > 1.2, "so sharp a model is too sure"


def test_the_surest_mistakes_are_named_and_shown(evaluated: Evaluated, tmp_path: Path) -> None:
    night, metrics = evaluated.night, evaluated.metrics
    assert metrics.most_wrong
    probabilities = [image.probability for image in metrics.most_wrong]
    assert probabilities == sorted(probabilities, reverse=True)
    for image, tile in zip(
        metrics.most_wrong, cut(file(night, names.MOST_WRONG_PNG), len(metrics.most_wrong)), strict=True
    ):
        assert image.label != image.prediction
        with Image.open(tmp_path / "images" / "test" / image.name) as original, Image.open(io.BytesIO(tile)) as picture:
            np.testing.assert_array_equal(np.asarray(original), np.asarray(picture))


def test_robustness_is_of_as_many_images_as_the_setting_says_and_of_none_for_zero(
    night: Night, cache: Path, tmp_path: Path
) -> None:
    night.settings = Study(name=STUDY, evaluation=Evaluation(robustness_images=20))
    night.open()
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras"))
    night.finish()
    card = evaluate(night.bucket, STUDY, cache).robustness
    assert card is not None
    assert card.images == 20
    by_name = {row.disturbance: row.accuracy for row in card.disturbances}
    assert by_name["none"] == by_name["flip left-right"], "a model of brightness does not see a flip"
    assert Image.open(io.BytesIO(file(night, names.ROBUSTNESS_PNG))).format == "PNG"
    night.settings = Study(name=STUDY, evaluation=Evaluation(robustness_images=0))
    night.open()
    night.trial("1", 0.9, brightness_model(tmp_path / "m.keras"))
    night.finish()
    assert evaluate(night.bucket, STUDY, cache).robustness is None
    assert names.evaluation(STUDY, names.ROBUSTNESS_PNG) not in set(night.bucket.list(names.evaluation(STUDY))), (
        "that of the evaluation before would not be this one's"
    )


def test_the_report_is_written_again_from_the_bucket_without_the_test_images(
    night: Night, cache: Path, tmp_path: Path
) -> None:
    night.trial("0", 0.7, brightness_model(tmp_path / "worse.keras", threshold=0.6))
    night.trial("1", 0.8, brightness_model(tmp_path / "best.keras"))
    night.finish()
    metrics = evaluate(night.bucket, STUDY, cache)
    written = file(night, names.REPORT_HTML).decode()
    assert f"{100 * metrics.accuracy:.2f} %" in written
    lose_the_test_split(night, cache)
    assert make_report(night.bucket, STUDY) == written


def test_there_is_no_report_before_there_is_an_evaluation(night: Night) -> None:
    with pytest.raises(EnvironmentFailure, match=r"no evaluation in .* to report yet"):
        make_report(night.bucket, STUDY)
