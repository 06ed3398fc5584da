"""Loads saved models without running code from the file, applies them, and saves them for plain Keras.

A model takes pixels from 0 to 255. For each image it outputs one number (a sigmoid, which is the probability of the
second class) or one number per class (a softmax).
"""

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tuner.errors import BucketError, SpaceError
from tuner.spaces.loadable import unloadable

BATCH_VALUES = 2**25
"""Maximum number of values of a batch: 134 MB as floats, to which the layers add several times as much."""
ROW_SUM_TOLERANCE = 0.02  # bfloat16 has 8 significant bits, which limits how exactly its softmax sums to 1


def load_model(path: Path, where: str, *, compiled: bool = False) -> Any:
    """Return the Keras model in `path`, by default not compiled because predictions need neither loss nor optimizer.

    `where` names the file in messages. Import a user's module first if it registers classes. Raises SpaceError if the
    model needs an unregistered class or code that `safe_mode` refuses, and BucketError if the file is damaged.
    """
    try:
        # Only zip archives are passed to Keras, so that its other formats (HDF5, pickled lambdas) are never read.
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is not a zip archive")
        _check_intact(path)  # otherwise, Keras's message about damaged JSON would look like one about the user's code
        return _load(path, where, compiled)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BucketError(f"{where}: the saved model is damaged ({_one_line(error)}). Restore this object.") from error


def _load(path: Path, where: str, compiled: bool) -> Any:
    """Return the model in an intact file. Raises SpaceError if Keras cannot load it."""
    import keras

    try:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except (TypeError, ValueError, ImportError, LookupError, AttributeError, NotImplementedError) as error:
        raise SpaceError(f"{where}: the model cannot be loaded. {unloadable(error)}") from error


def _check_intact(path: Path) -> None:
    """Raise BadZipFile if a file of the archive has not the checksum that the archive gives, or is not JSON."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        try:
            json.loads(archive.read("config.json"))
        except KeyError:
            raise zipfile.BadZipFile("it has no config.json") from None
        except ValueError:
            raise zipfile.BadZipFile("config.json is not JSON") from None


@runtime_checkable
class TrainsDifferently(Protocol):
    """A layer whose training behaviour no Keras layer has."""

    def for_prediction(self) -> Any:
        """Return a Keras layer without weights that behaves identically in prediction."""


def save_for_prediction(model: Any, path: Path) -> None:
    """Save a model from `load_model` so that Keras can load it without this package.

    Layers that behave differently only in training are replaced with Keras's own. A subclassed model keeps its layers
    because Keras cannot replace them. The optimizer's state, which is two thirds of a checkpoint with Adam, is not
    saved because `load_model` does not load it.
    """
    from keras import Sequential
    from keras.src.models import Functional

    layers = model._flatten_layers(include_self=False)
    if isinstance(model, Functional | Sequential) and any(isinstance(layer, TrainsDifferently) for layer in layers):
        model = _with_layers_for_prediction(model)
    model.save(path)


def _with_layers_for_prediction(model: Any) -> Any:
    import keras
    from keras.src.models import Functional

    def layer_for_prediction(layer: Any) -> Any:
        if isinstance(layer, TrainsDifferently):
            return layer.for_prediction()
        return type(layer).from_config(layer.get_config())

    plain = keras.models.clone_model(model, clone_function=layer_for_prediction, recursive=True)
    if type(plain) not in (Functional, keras.Sequential):  # a class used only for training, such as MixedModel
        plain = keras.Model(plain.input, plain.output, name=model.name)
    plain.set_weights(model.get_weights())
    return plain


def predict(
    model: Any, images: NDArray[np.uint8], batch_size: int, progress: Callable[[int, int], None] = lambda _, __: None
) -> NDArray[np.float32]:
    """Return the model's output for uint8 `images` (n, h, w, 3), as float32 (n, outputs).

    `progress(done, all)` is called after each batch, which has fewer images if they are large. Raises SpaceError if the
    output is not one row per image.
    """
    from keras import ops

    outputs = []
    batch_size = max(1, min(batch_size, BATCH_VALUES // max(1, int(np.prod(images.shape[1:])))))
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size], dtype=np.float32)
        output = ops.convert_to_numpy(ops.cast(model.predict_on_batch(batch), "float32"))
        if output.ndim != 2:
            raise SpaceError(
                f"the model's output has shape {output.shape} for {len(batch)} images. End the model in a "
                "Dense layer of one unit (sigmoid), or of one unit per class (softmax)."
            )
        outputs.append(output)
        progress(start + len(batch), len(images))
    return np.concatenate(outputs)


def probabilities(
    model: Any,
    images: NDArray[np.uint8],
    classes: int,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda _, __: None,
) -> NDArray[np.float64]:
    """Return the probability of each class (n, classes), float64, for uint8 `images` (n, h, w, 3).

    Raises SpaceError as `predict` and `class_probabilities` do.
    """
    return class_probabilities(predict(model, images, batch_size, progress), classes)


def class_probabilities(outputs: NDArray[np.float32], classes: int) -> NDArray[np.float64]:
    """Return the probability of each class (n, classes), float64, from a model's outputs (n, 1) or (n, classes).

    In float32, 1 - p would make all p below 6e-8 equal and distort the ROC AUC. Raises SpaceError if the outputs are
    not probabilities.
    """
    count = outputs.shape[1]
    if count not in ({1, 2} if classes == 2 else {classes}):
        wanted = "1 (sigmoid) or 2 (softmax)" if classes == 2 else f"{classes} (softmax)"
        raise SpaceError(
            f"the model has {count} outputs, but the data has {classes} classes. Change the outputs to {wanted}."
        )
    if not np.isfinite(outputs).all():
        raise SpaceError("the model outputs NaN or infinity for some images. Lower the learning rates of the space.")
    if outputs.min() < 0 or outputs.max() > 1:
        raise SpaceError(
            f"the model's outputs are not probabilities (from {outputs.min():z.4g} to {outputs.max():z.4g}). End the "
            "model in activation='sigmoid' or 'softmax' instead of using from_logits=True."
        )
    wide = outputs.astype(np.float64)
    if count == 1:
        return np.concatenate([1 - wide, wide], axis=1)
    if np.abs(wide.sum(axis=1) - 1).max() > ROW_SUM_TOLERANCE:
        raise SpaceError("the model's outputs do not sum to 1 for each image. End it in activation='softmax'.")
    return wide


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
