"""The evaluator on whole studies: real buckets, models, journals and packed images."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
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
    levels_model,
    lose_the_test_split,
    pack_images,
)
from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tests.support.evaluations import evaluate, read_metrics
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.settings import Evaluation, Study
from tuner.config.space_settings import Space
from tuner.data.manifest import read_manifest
from tuner.data.source import Progress
from tuner.errors import BucketError, EnvironmentFailure, NoResultError, SpaceError
from tuner.evaluation import scores
from tuner.evaluation.result_files import check_predictions
from tuner.report.rebuild import make_report


def test_the_best_trial_is_measured_on_the_test_images(night: Night, cache: Path, tmp_path: Path) -> None:
    night.trial("0", 0.7, brightness_model(tmp_path / "worse.keras", threshold=0.1))
    checkpoint = night.trial("1", 0.8, brightness_model(tmp_path / "best.keras"))
    night.finish()
    evaluate(night.bucket, STUDY, cache)

    fake, real = (brightness(night.data.test[name]) > 0.5 for name in CLASSES)
    matrix = [[int((~fake).sum()), int(fake.sum())], [int((~real).sum()), int(real.sum())]]
    correct = matrix[0][0] + matrix[1][1]
    assert 30 < correct < 60, "neither chance nor perfect: what is measured can be told from either"
    metrics = json.loads(file(night, names.METRICS_JSON))
    assert metrics["classes"] == list(CLASSES)
    assert metrics["confusion_matrix"] == matrix
    assert metrics["images"] == 60
    assert metrics["accuracy"] == correct / 60
    assert metrics["accuracy_interval_95"] == list(scores.wilson_interval(correct, 60))
    assert metrics["per_class"]["REAL"]["recall"] == matrix[1][1] / 30
    assert (metrics["best_trial"], metrics["best_epoch"], metrics["checkpoint"]) == ("1", 1, checkpoint)
    assert metrics["hyperparameters"] == {"filters": 20, "learning_rate": 0.001}
    assert metrics["validation_accuracy"] == metrics["score"] == 0.8
    assert metrics["validation_images"] == 6, "a tenth of 60 training images"
    assert metrics["validation_interval_95"] == list(scores.wilson_interval(5, 6))
    assert (metrics["study"], metrics["data_digest"], metrics["seed"]) == (STUDY, night.data.digest, 1)
    assert metrics["versions"]["keras"] == keras.__version__
    assert metrics["test_evaluations"] == 1

    won = brightness(night.data.test["REAL"])[:, None] > brightness(night.data.test["FAKE"])
    assert metrics["roc_auc"] == pytest.approx(won.mean(), abs=1e-3)


def test_the_accuracy_without_leaked_images_leaves_out_those_of_train(evaluated: Evaluated) -> None:
    night, without_leaked = evaluated.night, evaluated.metrics.accuracy_without_leaked
    right = np.concatenate([(brightness(night.data.test[name]) > 0.5) == index for index, name in enumerate(CLASSES)])[
        ~np.concatenate([night.data.leaked[name] for name in CLASSES])
    ]
    assert (without_leaked.leaked_images, without_leaked.images) == (4, 56)
    assert without_leaked.accuracy == right.mean()
    assert without_leaked.accuracy_interval_95 == scores.wilson_interval(int(right.sum()), 56)


def test_every_test_image_has_its_prediction_under_its_name(evaluated: Evaluated, tmp_path: Path) -> None:
    written = gzip.decompress(file(evaluated.night, names.PREDICTIONS_CSV)).decode()
    rows = list(csv.DictReader(io.StringIO(written)))
    assert list(rows[0]) == ["name", "label", "prediction", "probability", "sha256"]
    assert len(rows) == 60
    for row in rows:
        with Image.open(tmp_path / "images" / "test" / row["name"]) as image:
            real = 1 / (1 + np.exp(-20 * (np.asarray(image).mean() / 255 - 0.5)))
        assert row["label"] == row["name"].split("/")[0]
        assert row["prediction"] == ("REAL" if real > 0.5 else "FAKE")
        assert float(row["probability"]) == pytest.approx(max(real, 1 - real), abs=1e-5)


def test_the_matrix_is_there_as_json_and_as_picture(evaluated: Evaluated) -> None:
    night, metrics = evaluated.night, evaluated.metrics
    assert json.loads(file(night, names.CONFUSION_JSON)) == {
        "classes": list(CLASSES),
        "rows": "truth",
        "columns": "prediction",
        "counts": [list(row) for row in metrics.confusion_matrix],
        "percentages": [[100 * images / 30 for images in row] for row in metrics.confusion_matrix],
    }
    assert Image.open(io.BytesIO(file(night, names.CONFUSION_PNG))).format == "PNG"


def test_the_best_model_predicts_in_plain_keras_what_the_file_says(evaluated: Evaluated, tmp_path: Path) -> None:
    night = evaluated.night
    night.bucket.download(names.evaluation(STUDY, names.BEST_MODEL), tmp_path / "best_model.keras")
    model = keras.saving.load_model(tmp_path / "best_model.keras", safe_mode=True)
    images = np.concatenate([night.data.test[name] for name in CLASSES])
    second = model.predict(images.astype("float32"), verbose=0)[:, 0]
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(file(night, names.PREDICTIONS_CSV)).decode())))
    written = [float(r["probability"]) if r["prediction"] == "REAL" else 1 - float(r["probability"]) for r in rows]
    np.testing.assert_allclose(written, second, atol=1e-6)


def test_a_metrics_json_of_before_these_were_measured_is_read(evaluated: Evaluated, cache: Path) -> None:
    night = evaluated.night
    later = (
        "bootstrap", "calibration", "objects", "runner_up", "robustness", "most_wrong", "roc_curves", "familiar",
    )  # fmt: skip
    old = {key: value for key, value in json.loads(file(night, names.METRICS_JSON)).items() if key not in later}
    night.bucket.write(names.evaluation(STUDY, names.METRICS_JSON), json.dumps(old).encode())
    lose_the_test_split(night, cache)
    for name in (names.PROVENANCE_JSON, names.MOST_WRONG_PNG, names.ROBUSTNESS_SAMPLES_PNG):
        night.bucket.delete(names.evaluation(STUDY, name))
    metrics = evaluate(night.bucket, STUDY, cache)
    assert metrics.accuracy == old["accuracy"]
    assert metrics.calibration is None
    assert f"{100 * metrics.accuracy:.2f} %" in make_report(night.bucket, STUDY)


def test_an_evaluation_made_already_is_answered_without_the_test_images(evaluated: Evaluated, cache: Path) -> None:
    night, first = evaluated.night, evaluated.metrics
    written = file(night, names.METRICS_JSON)
    lose_the_test_split(night, cache)
    assert evaluate(night.bucket, STUDY, cache) == first == read_metrics(night.bucket, STUDY)
    assert file(night, names.METRICS_JSON) == written


def test_a_better_trial_replaces_the_evaluation_and_the_second_look_is_counted(
    night: Night, cache: Path, tmp_path: Path
) -> None:
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras", threshold=0.1))
    night.finish()
    first = evaluate(night.bucket, STUDY, cache)
    night.open()
    night.trial("1", 0.9, brightness_model(tmp_path / "better.keras"))
    night.finish()
    second = evaluate(night.bucket, STUDY, cache)
    assert (second.best_trial, second.test_evaluations) == ("1", 2)
    assert second.accuracy > first.accuracy
    assert read_metrics(night.bucket, STUDY) == second
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(file(night, names.PREDICTIONS_CSV)).decode())))
    assert np.mean([row["label"] == row["prediction"] for row in rows]) == second.accuracy


class FailingBucket(LocalBucket):
    """Fails to write the objects whose name ends so."""

    failing = ""

    def write(self, name: str, data: bytes) -> None:
        if self.failing and name.endswith(self.failing):
            raise BucketError("full")
        super().write(name, data)


def test_a_folder_with_metrics_json_is_whole(evaluated: Evaluated, cache: Path, tmp_path: Path) -> None:
    night = evaluated.night
    night.open()
    night.trial("1", 0.9, brightness_model(tmp_path / "better.keras", threshold=0.6))
    night.finish()
    bucket = FailingBucket(tmp_path / "bucket")
    for bucket.failing in (names.PREDICTIONS_CSV, names.CONFUSION_JSON, names.CONFUSION_PNG):
        with pytest.raises(BucketError, match="full"):
            evaluate(bucket, STUDY, cache)
        assert read_metrics(bucket, STUDY) is None, "the old metrics.json must not stand beside new files"
    bucket.failing = ""
    assert evaluate(bucket, STUDY, cache).best_trial == "1"


def test_a_metrics_json_that_cannot_be_understood_is_made_again(night: Night, cache: Path, tmp_path: Path) -> None:
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras"))
    night.finish()
    night.bucket.write(names.evaluation(STUDY, names.METRICS_JSON), b"{}")
    assert evaluate(night.bucket, STUDY, cache) == read_metrics(night.bucket, STUDY)


def test_every_row_of_the_predictions_has_the_digest_of_its_image(evaluated: Evaluated) -> None:
    night = evaluated.night
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(file(night, names.PREDICTIONS_CSV)).decode())))
    split = read_manifest(night.bucket, night.data.digest).splits["test"]
    assert [(row["name"], row["sha256"]) for row in rows] == list(zip(split.names, split.sha256, strict=True))
    check_predictions(night.bucket, evaluated.metrics)


def test_a_search_without_a_usable_trial_is_no_result(night: Night, cache: Path) -> None:
    night.failed_trial("0", "ValueError: shapes differ")
    night.finish()
    with pytest.raises(NoResultError, match="ValueError: shapes differ") as error:
        evaluate(night.bucket, STUDY, cache)
    assert error.value.exit_code == 4


def test_a_search_that_still_runs_keeps_its_test_split_unread(night: Night, cache: Path, tmp_path: Path) -> None:
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras"))
    with pytest.raises(EnvironmentFailure, match="has not ended") as error:
        evaluate(night.bucket, STUDY, cache)
    assert error.value.exit_code == 3
    assert read_metrics(night.bucket, STUDY) is None


def test_a_cache_that_cannot_be_used_is_a_sentence(night: Night, tmp_path: Path) -> None:
    night.trial("0", 0.8, brightness_model(tmp_path / "m.keras"))
    night.finish()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentFailure, match="cache cannot be used"):
        evaluate(night.bucket, STUDY, tmp_path / "file" / "cache")


def test_three_classes_are_measured_too_in_batches_of_any_size(cache: Path, tmp_path: Path) -> None:
    classes = ("dark", "grey", "light")
    bucket = LocalBucket(tmp_path / "bucket")
    settings = Study(name=STUDY, evaluation=Evaluation(batch_size=7))
    night = Night(bucket, pack_images(bucket, tmp_path / "images", classes), settings)
    night.open()
    night.trial("0", 0.6, levels_model(tmp_path / "m.keras", 3))
    night.finish()
    progress: list[Progress] = []
    metrics = evaluate(bucket, STUDY, cache, progress.append)
    nearest = {
        name: np.abs(brightness(night.data.test[name])[:, None] - np.array([0.25, 0.5, 0.75])).argmin(axis=1)
        for name in classes
    }
    assert metrics.confusion_matrix == tuple(tuple(np.bincount(nearest[n], minlength=3).tolist()) for n in classes)
    assert metrics.roc_auc is not None
    assert 0.7 < metrics.roc_auc < 1
    assert progress[0] == Progress("verifying", 9, 9)
    assert Progress("testing", 7, 90) in progress
    assert progress[-1] == Progress("corrupting", 9, 9, "corruptions")


def test_a_model_for_other_classes_is_a_sentence_and_leaves_no_evaluation(
    night: Night, cache: Path, tmp_path: Path
) -> None:
    night.trial("0", 0.8, levels_model(tmp_path / "m.keras", 3))
    night.finish()
    with pytest.raises(SpaceError, match=r"3 outputs.*2 classes"):
        evaluate(night.bucket, STUDY, cache)
    assert not list(night.bucket.list(names.evaluation(STUDY)))
    assert not list(cache.rglob("*.keras"))


USERS_SPACE = """
import keras, keras_tuner

@keras.saving.register_keras_serializable(package="users")
class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2

class Space(keras_tuner.HyperModel):
    def build(self, hp):
        return keras.Sequential(
            [keras.Input((8, 8, 3)), Halved(), keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
        )
"""


@pytest.mark.slow
def test_a_users_own_layer_is_found_because_the_users_space_is_imported(
    night: Night, cache: Path, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "users_space_of_evaluation.py").write_text(USERS_SPACE)
    script = "from users_space_of_evaluation import Space; Space().build(None).save('m.keras')"
    subprocess.run(
        [python_with(FASTEST_BACKEND), "-c", script],
        cwd=code,
        env=os.environ | {"KERAS_BACKEND": FASTEST_BACKEND, **JAX_ENVIRONMENT},
        check=True,
        capture_output=True,
    )
    night.trial("0", 0.8, code / "m.keras")
    night.finish()
    with pytest.raises(SpaceError, match="Halved"):
        evaluate(night.bucket, STUDY, cache)  # the built-in space knows no such layer
    space = Space.model_validate({"import": "users_space_of_evaluation:Space", "code": str(code)})
    night.settings = Study(name=STUDY, space=space)
    night.open()
    night.finish()
    assert evaluate(night.bucket, STUDY, cache).images == 60


def test_the_evaluator_is_imported_without_keras_and_plots() -> None:
    script = (
        "import sys, tuner.evaluator.run, tuner.report.terminal.evaluation\n"
        "import tuner.report.figures.confusion_matrix, tuner.report.rebuild\n"
        "slow = {'keras', 'tensorflow', 'jax', 'matplotlib', 'sklearn', 'scipy', 'keras_tuner'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
