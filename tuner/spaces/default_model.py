"""Checks the model of a space's default hyperparameters, before any trial is trained.

A fault of this model is a fault of every trial: it takes other images than those of the data set, has several outputs,
is not compiled, has a loss for other labels, or does not report the objective. Without this check, each trial would
find the fault after its first epoch, in words of Keras. The model is not trained. Where possible, only the shapes of
its arrays are computed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

from tuner import names
from tuner.errors import PreemptedError, SpaceError
from tuner.spaces.error_cause import LABELS, NOT_COMPILED, cause_of
from tuner.spaces.exploration import activate
from tuner.spaces.own_methods import has_own_fit, takes_images
from tuner.spaces.trial_builds import build_error

IMAGES = 2
"""Number of images to which the model is applied."""


@dataclass(frozen=True)
class Expectations:
    """What a study needs of its models."""

    image_shape: tuple[int, int, int]
    """Height, width and channels."""
    classes: int
    objective: str


def check_default_model(
    space: keras_tuner.HyperModel,
    searched: keras_tuner.HyperParameters,
    expectations: Expectations,
    values: Mapping[str, Any],
) -> bool:
    """Check the model that a space builds with the defaults of the searched hyperparameters.

    Return whether all was checked. Nothing is checked of a space with its own data (`data`) or evaluation (`evaluate`).
    If the space has its own `fit`, only the model's output is checked, because the
    `fit` may change labels and compile the model. If the model has its own steps, its loss is not checked.

    Args:
        space: The space.
        searched: The hyperparameters of a trial, whose values are ignored.
        expectations: What the study needs.
        values: Values that are not searched, such as the number of epochs.

    Raises:
        SpaceError: The model has a fault that every trial would have. The message says what to do.
    """
    if not takes_images(space):
        return False
    own_fit = has_own_fit(space)
    is_complete = False

    def check(model: Any) -> None:
        nonlocal is_complete
        is_complete = _check(model, expectations, own_fit)

    error: Exception | None = None
    for dry in (True, False):  # a user's layers may need arrays that have values
        hp = searched.copy()
        hp.values = dict(values)
        activate(hp)
        hp.values |= values
        error = build_error(space, hp, dry, check)
        if error is None:
            return is_complete
    assert error is not None
    if isinstance(error, SpaceError):
        raise error
    chosen = {name: value for name, value in hp.values.items() if names.is_hyperparameter(name)}
    raise SpaceError(
        f"the space's build() fails with its default hyperparameters, {chosen} ({cause_of(error)}). Fix build()."
    ) from error


def _check(model: Any, expectations: Expectations, own_fit: bool) -> bool:
    """Check a model. Return whether its loss and metrics were computed."""
    if not isinstance(model, keras.Model):
        raise SpaceError(
            f"build() must return a compiled keras.Model, got {type(model).__name__}. Return the model at its end."
        )
    images = np.zeros((IMAGES, *expectations.image_shape), np.float32)
    shape = " x ".join(map(str, expectations.image_shape))
    outputs = _applied(
        lambda: model(images, training=False),
        f"the model cannot be applied to the images of the data set ({shape}: height x width x channels)",
        "The evaluation and `predict` give it whole images, so resize or crop them in the model (keras.layers."
        "Resizing, CenterCrop) instead of in fit(), and take the image's shape from the argument image_shape.",
    )
    _check_outputs(outputs, expectations.classes)
    if own_fit:
        return False
    if not model.compiled:
        raise SpaceError(f"build() returned a model that is not compiled. {NOT_COMPILED}")
    _applied(lambda: model(images, training=True), "the model cannot be applied in training", "Fix its layers.")
    if _has_own_steps(model):
        return False
    if model.loss is None and not model.losses and _is_of_keras(model, "compute_loss"):
        raise SpaceError(f"the model is compiled without a loss. {NOT_COMPILED}")
    _check_loss_of_one_unit(model, tuple(outputs.shape))
    labels = (np.arange(IMAGES) % expectations.classes).astype(np.uint8)
    _applied(
        lambda: model._compute_loss(x=images, y=labels, y_pred=outputs, training=False),
        f"the model's loss cannot be computed from labels of shape ({IMAGES},) and outputs of shape "
        f"{tuple(outputs.shape)}",
        LABELS,
    )
    metrics = _applied(
        lambda: model.compute_metrics(images, labels, outputs),
        "the model's metrics cannot be computed",
        LABELS,
    )
    _check_objective(set(metrics), expectations.objective)
    return True


def _applied(action: Callable[[], Any], problem: str, remedy: str) -> Any:
    try:
        return action()
    except PreemptedError:
        raise
    except Exception as error:
        raise SpaceError(f"{problem}: {cause_of(error).partition(LABELS)[0].rstrip('. ')}. {remedy}") from error


def _check_outputs(outputs: Any, classes: int) -> None:
    wanted = "1 (sigmoid) or 2 (softmax)" if classes == 2 else f"{classes} (softmax)"
    if isinstance(outputs, list | tuple | dict):
        if len(outputs) == 1:
            return  # Keras trains and predicts such a model as one with a single output
        raise SpaceError(
            f"the model has {len(outputs)} outputs, but a study of images needs one that gives the class. Return a "
            f"keras.Model with a single output layer of {wanted} units."
        )
    shape = tuple(outputs.shape)
    if len(shape) != 2:
        raise SpaceError(
            f"the model's output has shape {shape} for {IMAGES} images. End the model in a Dense layer of {wanted} "
            "units, after Flatten or GlobalAveragePooling2D."
        )
    if shape[1] not in ({1, 2} if classes == 2 else {classes}):
        raise SpaceError(
            f"the model has {shape[1]} outputs, but the data has {classes} classes. Change the outputs to {wanted}."
        )


def _check_loss_of_one_unit(model: keras.Model, shape: tuple[int, ...]) -> None:
    """Refuse a loss of several classes for an output of one unit, which JAX computes without an error."""
    sparse = (keras.losses.SparseCategoricalCrossentropy, keras.losses.sparse_categorical_crossentropy)
    loss = keras.losses.get(model.loss) if isinstance(model.loss, str) else model.loss
    if shape[1:] == (1,) and (isinstance(loss, sparse[0]) or loss is sparse[1]):
        raise SpaceError(
            "the model has one output, and the loss sparse_categorical_crossentropy needs one per class. Use the loss "
            "binary_crossentropy with Dense(1, activation='sigmoid'), or Dense(2, activation='softmax')."
        )


def _has_own_steps(model: keras.Model) -> bool:
    """Return whether the model has its own `fit`, steps or metrics, which may use labels and report in any way."""
    methods = ("fit", "train_step", "test_step", "compute_metrics")
    return any(name in vars(model) for name in methods) or not all(_is_of_keras(model, name) for name in methods)


def _is_of_keras(model: keras.Model, method: str) -> bool:
    module: str = getattr(type(model), method).__module__
    return module.partition(".")[0] == "keras"


def _check_objective(metrics: set[str], objective: str) -> None:
    if "loss" not in metrics:
        metrics = metrics | {"loss"}
    reported = metrics | {f"val_{name}" for name in metrics}
    if objective in reported:
        return
    advice = (
        "Pass metrics=['accuracy'] to the model's compile()."
        if objective in ("val_accuracy", "accuracy") and len(metrics) == 1
        else "Choose one of these."
    )
    raise SpaceError(
        f"search.objective is {objective!r}, and the model reports {', '.join(sorted(reported))}. {advice}"
    )
