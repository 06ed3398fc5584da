"""Exports the best model for other runtimes by Keras's own `model.export`, and checks what was written.

Beside the model, a file `export.json` has the classes, the temperature and the size of the images. A runtime gets
pixels of 0-255 as float32 (n, height, width, 3), and returns what the model does: one column (a sigmoid, the
probability of the second class), or one column per class.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.bucket import Bucket
from tuner.errors import BucketError, SpaceError
from tuner.evaluation.predictor import Predictor
from tuner.evaluation.saved_model import predict
from tuner.export.formats import ModelFormat
from tuner.names import shard
from tuner.temporary_files import temporary_folder

CHECKED = 500
"""Number of inputs with which the exported model is checked."""
TOLERANCE = 1e-3
"""Largest difference of a probability."""
BATCH = 100

Images = NDArray[np.uint8]
Run = Callable[[NDArray[np.float32]], Any]


def export_model(bucket: Bucket, predictor: Predictor, output: ModelFormat, folder: Path) -> float:
    """Write the evaluated model and `export.json` to an empty folder, and return the largest difference found.

    Raises SpaceError if the model cannot be exported, or predicts other probabilities in the format's runtime.
    """
    model = _in_prediction(predictor.model)
    path = folder / output.file
    try:
        images = _images(bucket, predictor)
        model(images[:1].astype(np.float32))  # the converter to ONNX needs a model that was called
        model.export(str(path), format=output.keras_name, verbose=False)
        difference = _largest_difference(predictor, _RUNTIMES[output](path), images)
    except (SpaceError, MemoryError):
        raise
    except Exception as error:  # of Keras, a converter, or a runtime
        reason = " ".join(str(error).split())
        raise SpaceError(
            f"the model cannot be exported as {output} ({type(error).__name__}: {reason:.300}). Choose another "
            "--format."
        ) from error
    if not difference <= TOLERANCE:
        raise SpaceError(
            f"the model exported as {output} predicts probabilities that differ by up to {difference:.2g} on "
            f"{len(images)} inputs, which is more than {TOLERANCE:g}. Choose another --format."
        )
    calibration = predictor.metrics.calibration
    description = {
        "format": output.value,
        "file": output.file,
        "classes": list(predictor.metrics.classes),
        "temperature": calibration.temperature if calibration else None,
        "input": {"shape": [None, *predictor.model.input_shape[1:]], "dtype": "float32", "range": [0, 255]},
        "outputs": int(predictor.model.output_shape[-1]),
        "study": predictor.metrics.study,
        "trial": predictor.metrics.best_trial,
        "checked_inputs": len(images),
        "largest_difference": difference,
    }
    (folder / "export.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return difference


def _in_prediction(model: Any) -> Any:
    """Return the model as one that is never in training.

    `model.export` calls a model without saying whether it is in training, and layers may take that for training. So
    do Keras's random layers, whose operations few runtimes have.
    """
    import keras

    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, model(pixels, training=False))


def _images(bucket: Bucket, predictor: Predictor) -> Images:
    """Return training images, and noise of several brightnesses if the data set has too few of them or is gone."""
    shape = (predictor.height, predictor.width, 3)
    random = np.random.default_rng(0)
    low, high = np.sort(random.integers(0, 256, (2, CHECKED, 1, 1, 3)), axis=0)
    noise = random.integers(low, high + 1, (CHECKED, *shape)).astype(np.uint8)
    with temporary_folder() as folder:
        path = Path(folder, "shard.npy")
        try:
            bucket.download(shard(predictor.metrics.data_digest, "train", 0), path)
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
            chosen = np.linspace(0, len(stored) - 1, min(CHECKED, len(stored))).astype(int)
            return np.concatenate([stored[chosen], noise])[:CHECKED]
        except (BucketError, ValueError):
            return noise


def _largest_difference(predictor: Predictor, run: Run, images: Images) -> float:
    expected = predict(predictor.model, images, BATCH)
    batches = [images[start : start + BATCH].astype(np.float32) for start in range(0, len(images), BATCH)]
    actual = np.concatenate([np.asarray(run(batch)) for batch in batches])
    if actual.shape != expected.shape:
        raise SpaceError(f"the exported model returns the shape {actual.shape} instead of {expected.shape}.")
    return float(np.abs(actual.astype(np.float64) - expected).max())


def _run_saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(batch: NDArray[np.float32]) -> Any:
        return loaded.serve(batch)  # `loaded` keeps the variables alive

    return run


def _run_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def _run_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    pixels, output = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(batch: NDArray[np.float32]) -> Any:
        interpreter.resize_tensor_input(pixels, batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(pixels, batch)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return run


def _run_openvino(path: Path) -> Run:
    import openvino

    # on many processors, OpenVINO computes with 16 bits by default
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: compiled(batch)[0]


_RUNTIMES: dict[ModelFormat, Callable[[Path], Run]] = {
    ModelFormat.SAVED_MODEL: _run_saved_model,
    ModelFormat.ONNX: _run_onnx,
    ModelFormat.LITERT: _run_litert,
    ModelFormat.OPENVINO: _run_openvino,
}
