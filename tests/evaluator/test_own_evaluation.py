"""Evaluations by the space: its own data, or its own `evaluate` of packed images. The test data is read once."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from tests.evaluation.studies import STUDY, Night, brightness_model, file, lose_the_test_split
from tuner import names
from tuner.config.data_settings import Data
from tuner.config.settings import Study
from tuner.config.space_settings import Space
from tuner.errors import SpaceError
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluation.predictor import open_predictor
from tuner.evaluation.provenance import Provenance
from tuner.evaluator.run import evaluate
from tuner.report.rebuild import make_report

EVALUATES = """
import keras_tuner

class Counts(keras_tuner.HyperModel):
    def evaluate(self, model, test):
        images, labels = test
        bright = model.predict(images.astype("float32"), verbose=0)[:, 0] > 0.5
        return {"bright": bright.sum(), "right": (bright == labels).mean(), "images": len(images)}
"""
BRINGS_DATA = """
import keras_tuner
import numpy as np

class Shades(keras_tuner.HyperModel):
    def data(self, part):
        assert part == "test"
        x = np.linspace(0, 255, 20)[:, None, None, None] * np.ones((8, 8, 3))
        if READY.exists():
            return x, np.arange(20) >= 10
        raise ValueError("no column bright")
"""


def space_in(folder: Path, module: str, text: str, name: str) -> Space:
    (folder / f"{module}.py").write_text(text)
    return Space.model_validate({"import": f"{module}:{name}", "code": str(folder)})


def test_a_space_with_an_evaluate_of_its_own_gets_the_test_images(night: Night, cache: Path, tmp_path: Path) -> None:
    night.trial("0", 0.8, brightness_model(tmp_path / "0.keras"))
    night.settings = Study(name=STUDY, space=space_in(tmp_path, "space_that_evaluates", EVALUATES, "Counts"))
    night.open()
    night.finish()
    metrics = evaluate(night.bucket, STUDY, cache)
    assert isinstance(metrics, OwnMetrics)
    assert (metrics.results["images"], metrics.samples, metrics.own_evaluate, metrics.verified) == (60, 60, True, False)
    assert metrics.results["right"] > 0.8
    assert json.loads(file(night, names.METRICS_JSON))["data_digest"] == night.data.digest
    origin = Provenance.model_validate_json(file(night, names.PROVENANCE_JSON))
    assert origin.data is not None
    assert (origin.data.training_images, origin.data.test_images) == (54, 60)
    assert "evaluate() on 60 test samples" in make_report(night.bucket, STUDY).replace("&#39;", "'")
    with pytest.raises(Exception, match="has its own data or evaluation"):
        open_predictor(night.bucket, STUDY)
    lose_the_test_split(night, cache)
    assert evaluate(night.bucket, STUDY, cache) == metrics, "the test images are read once"


def test_a_mistake_in_the_test_data_is_fixed_without_another_search(night: Night, cache: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    text = f"import pathlib\nREADY = pathlib.Path({str(ready)!r})\n{BRINGS_DATA}"
    space = space_in(tmp_path, "space_with_test_data", text, "Shades")
    night.trial("0", 0.8, brightness_model(tmp_path / "0.keras"))
    night.settings = Study(name=STUDY, space=space, data=Data(own=True))
    night.data = replace(night.data, digest=names.OWN_DATA)
    night.open()
    night.finish()
    with pytest.raises(SpaceError, match=r"data\('test'\) fails \(ValueError: no column bright .*space_with_test_data"):
        evaluate(night.bucket, STUDY, cache)
    ready.touch()
    metrics = evaluate(night.bucket, STUDY, cache)
    assert isinstance(metrics, OwnMetrics)
    assert metrics.results == {"loss": pytest.approx(metrics.results["loss"]), "accuracy": 1.0}
    assert (metrics.data_digest, metrics.samples, metrics.own_evaluate) == (names.OWN_DATA, 20, False)
    assert Provenance.model_validate_json(file(night, names.PROVENANCE_JSON)).data is None
    model = tmp_path / "best.keras"
    model.write_bytes(file(night, names.BEST_MODEL))
    assert not keras.saving.load_model(model).compiled, "the optimizer's state would treble its size"
