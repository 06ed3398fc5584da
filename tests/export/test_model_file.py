"""`export model`: each format is read back by its own runtime, with images that the check did not use."""

import importlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner  # whole: the command would import it without what other tests of this process need
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.compatibility.conftest import STUDY, unpack
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import ConfigError, ExitCode, SpaceError
from tuner.evaluation.predictor import open_predictor
from tuner.evaluation.saved_model import save_for_prediction
from tuner.export import formats, model_file
from tuner.export.formats import PACKAGES, ModelFormat, require_packages
from tuner.spaces.deep import DeepSpace

pytestmark = pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow", reason="formats are written with TensorFlow"
)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("finished", tmp_path_factory.mktemp("finished")) / "bucket"


def export(bucket: Path, output: str, folder: Path) -> Finished:
    return run_in_process("export", "model", "--format", output, folder, "--bucket", bucket)


def needs(output: ModelFormat) -> None:
    for package in PACKAGES[output]:
        pytest.importorskip(package)


def read_back(output: ModelFormat, path: Path, images: NDArray[np.float32]) -> NDArray[Any]:
    return np.asarray(model_file._RUNTIMES[output](path)(images))


@pytest.mark.slow
@pytest.mark.parametrize("output", ModelFormat)
def test_the_exported_model_predicts_what_the_model_predicts(output: ModelFormat, bucket: Path, tmp_path: Path) -> None:
    needs(output)
    done = export(bucket, output, tmp_path / "out")
    assert done.code == ExitCode.DONE, done.err
    assert done.out.startswith(f"Exported the model of study {STUDY} to {tmp_path / 'out' / output.file}.")
    description = json.loads((tmp_path / "out" / "export.json").read_text())
    metrics = json.loads((bucket / names.evaluation(STUDY, names.METRICS_JSON)).read_text())
    assert description["classes"] == metrics["classes"]
    assert description["temperature"] == metrics["calibration"]["temperature"]
    assert description["input"] == {"shape": [None, 8, 8, 3], "dtype": "float32", "range": [0, 255]}
    assert (description["checked_inputs"], description["file"]) == (500, output.file)
    assert description["largest_difference"] <= 1e-3
    images = np.random.default_rng(7).integers(0, 256, (9, 8, 8, 3)).astype(np.float32)
    model = keras.saving.load_model(bucket / names.evaluation(STUDY, names.BEST_MODEL), compile=False)
    actual = read_back(output, tmp_path / "out" / output.file, images)
    assert np.abs(actual - model.predict(images, verbose=0)).max() <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("output", ModelFormat)
def test_random_layers_are_exported_as_in_prediction(output: ModelFormat, bucket: Path, tmp_path: Path) -> None:
    """Keras would export them as in training, with operations that runtimes lack."""
    needs(output)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.RandomFlip("horizontal"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    opened = LocalBucket(bucket)
    flipping = replace(open_predictor(opened, STUDY), model=keras.Sequential(layers))
    assert model_file.export_model(opened, flipping, output, tmp_path) <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("output", ModelFormat)
def test_the_networks_of_deep_can_be_exported(output: ModelFormat, bucket: Path, tmp_path: Path) -> None:
    needs(output)
    save_for_prediction(DeepSpace((8, 8, 3), 2).build(keras_tuner.HyperParameters()), tmp_path / "deep.keras")
    deep = keras.saving.load_model(tmp_path / "deep.keras", compile=False)
    opened = LocalBucket(bucket)
    (tmp_path / "out").mkdir()
    assert (
        model_file.export_model(opened, replace(open_predictor(opened, STUDY), model=deep), output, tmp_path / "out")
        <= 1e-3
    )


def test_a_model_that_changes_by_its_export_is_refused(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = LocalBucket(bucket)
    predictor = open_predictor(opened, STUDY)

    def wrong(path: Path) -> model_file.Run:
        return lambda batch: np.asarray(predictor.model(batch)) + 0.002

    monkeypatch.setitem(model_file._RUNTIMES, ModelFormat.SAVED_MODEL, wrong)
    with pytest.raises(SpaceError, match=r"differ by up to 0\.002 on 500 inputs, which is more than 0\.001"):
        model_file.export_model(opened, predictor, ModelFormat.SAVED_MODEL, tmp_path)


@pytest.mark.parametrize(
    ("output", "missing", "named"),
    [
        ("onnx", "tf2onnx", "tf2onnx"),
        ("onnx", "onnxruntime", "onnxruntime"),
        ("litert", "ai_edge_litert", "ai-edge-litert"),
        ("openvino", "openvino", "openvino"),
        ("saved_model", "tensorflow", "tensorflow"),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    output: str, missing: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == missing else importlib)
    with pytest.raises(ConfigError) as caught:
        require_packages(ModelFormat(output), "tensorflow")
    assert str(caught.value) == (
        f"--format {output} needs the package {named}, which is not installed. Install it with pip install {named}."
    )


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: importlib)
    with pytest.raises(ConfigError, match=r"needs TensorFlow as the backend. Set KERAS_BACKEND to tensorflow"):
        require_packages(ModelFormat.ONNX, "jax")
