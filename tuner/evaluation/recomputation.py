"""Recomputes the objective of a saved model on the raw validation images, to check the value that was reported.

The model that is evaluated must be the one that was scored. It is not if a space's own `fit` changes the images, for
example divides them by 255: the model then learns from other pixels than it gets in the evaluation. Its reported values
are those of `fit`, and nothing else shows that the saved model predicts at random.

The metrics and the loss are those with which the model was compiled, as Keras saved them with it. A metric of the
user's own can be recomputed if it is registered, like a layer.
"""

import json
import math
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.spaces.out_of_memory import out_of_memory

SAMPLE = 512
"""Number of images on which the objective is recomputed if all of them would take longer than `ALL_S`."""
ALL_S = 10.0
RESAMPLES = 100
ROUNDINGS = 20
"""Number of times a metric is computed with outputs that differ by rounding."""
Z_999 = 3.29
"""Standard deviations of a normal distribution that contain 99.9 % of it."""
NONE_SEEN = 6.9
"""A sample of n images that all agree excludes a share of NONE_SEEN / n others, with 99.9 % confidence: -ln(0.001)."""
ABSOLUTE = 1e-3
"""Difference that is always tolerated."""
_SMALLEST_BATCH, _LARGEST_BATCH = 32, 512
_PREFIX = "val_"
_LOSS = "val_loss"
_ACCURACY = "val_accuracy"
REMEDY = (
    "Put into the model what fit does to the images, such as keras.layers.Rescaling(1 / 255) instead of x / 255, and "
    "let fit validate on validation_data as it is."
)
GROSS = 2.0
"""Ratio of a recomputed loss to the reported one above which the models are suspected to differ."""

Measure = Callable[[NDArray[Any], NDArray[np.float32]], float | None]
"""Returns a metric from labels and outputs; None if it cannot be computed from such labels."""


@dataclass(frozen=True)
class Rounding:
    """By how much results may differ between two computations of the same model."""

    margin: float
    """Difference of the two largest probabilities below which either class may be predicted."""
    relative: float
    """Relative difference of a loss."""
    absolute: float


_SINGLE = Rounding(margin=1e-3, relative=1e-2, absolute=ABSOLUTE)  # GPUs multiply float32 with 10 bits (TF32)
_HALF = Rounding(margin=5e-2, relative=5e-2, absolute=1e-2)  # bfloat16 has 8 significant bits


@dataclass(frozen=True)
class Recomputed:
    """An objective that was recomputed with the saved model."""

    objective: str
    reported: float
    value: float
    tolerance: float
    images: int
    all_images: int
    is_telling: bool
    """Whether agreement means much. It does not if the model predicts the same class for all images, because it then
    has the accuracy of many other models."""

    @property
    def agrees(self) -> bool:
        """Whether the recomputed value differs from the reported one by no more than rounding and sampling explain."""
        return abs(self.value - self.reported) <= self.tolerance

    def comparison(self) -> str:
        """Return both values, and on which images the saved model was applied."""
        which = (
            f"all {self.all_images:,}" if self.images == self.all_images else f"{self.images:,} of {self.all_images:,}"
        )
        return (
            f"{self.objective} was reported as {self.reported:z.4f}, but the saved model reaches {self.value:z.4f} on "
            f"{which} validation images with pixels of 0-255 (tolerance {self.tolerance:z.4f})"
        )


@dataclass(frozen=True)
class Subject:
    """A saved model, with the file from which it was loaded, and the validation images."""

    model: Any
    file: Path
    validation: Arrays
    batch_size: int
    progress: Callable[[int, int], None] = lambda done, total: None
    """Called after each batch with the numbers of images, and may raise."""
    inspect: Callable[[NDArray[np.float32]], None] = lambda outputs: None
    """Called with the outputs before they are compared, and may raise."""


def recompute(subject: Subject, metrics: Mapping[str, float], objective: str, *, everything: bool) -> Recomputed | None:
    """Return the objective of the saved model; None if it cannot be recomputed.

    Args:
        subject: The model and the images.
        metrics: The reported metrics.
        objective: Name of the objective.
        everything: Whether all images are used, however long that takes.

    Raises:
        SpaceError: The model's output is not one row per image.
    """
    reported, measure = metrics.get(objective), _measure(subject, objective)
    chosen, outputs = _outputs(subject, everything, at_most=1 if measure is None else None)
    subject.inspect(outputs)
    if reported is None or not np.isfinite(reported) or measure is None:
        return None
    labels = np.asarray(subject.validation.labels)[chosen]
    readings: list[NDArray[Any]] = (
        [labels, np.eye(outputs.shape[1], dtype=np.float32)[labels]] if outputs.shape[1] > 1 else [labels]
    )
    compute = _loss_of(subject, chosen) if objective == _LOSS else measure
    values = [(value, reading) for reading in readings if (value := compute(reading, outputs)) is not None]
    if not values:
        return None
    # a model may have been trained with labels as numbers or one-hot: only one of them fits its loss and metrics
    value, reading = min(values, key=lambda pair: abs(pair[0] - reported))
    count, total = len(chosen), len(subject.validation.labels)
    tolerance = _rounding(subject.model, objective, value, measure, (labels, reading, outputs))
    if count < total:
        tolerance += _sampling(measure, reading, outputs)
    return Recomputed(
        objective, reported, value, tolerance, count, total, _is_telling(subject, metrics, objective, reading, outputs)
    )


def _outputs(subject: Subject, everything: bool, at_most: int | None) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the indices of images and the model's outputs for them.

    These are all images, or a sample if all would take too long, or `at_most` batches.
    """
    from tuner.evaluation.saved_model import predict

    total = len(subject.validation.labels)
    order = np.random.default_rng(0).permutation(total)
    size = _batch_images(subject)
    outputs: list[NDArray[np.float32]] = []
    done, second = 0, 0.0
    while done < total and len(outputs) != at_most:
        if done >= size and not second:
            second = time.perf_counter()  # the first batch also compiles the model
        part = np.sort(order[done : done + size])
        order[done : done + size] = part
        padded = np.resize(part, size)  # a batch of another size would be compiled again
        outputs.append(predict(subject.model, subject.validation.images[padded], size)[: len(part)])
        done += len(part)
        subject.progress(done, total)
        if not everything and done >= min(SAMPLE, total) and done > size:
            needed_s = (time.perf_counter() - second) / (done - size) * (total - done)
            if needed_s > ALL_S:
                break
    return order[:done], np.concatenate(outputs)


def _batch_images(subject: Subject) -> int:
    return min(max(subject.batch_size, _SMALLEST_BATCH), _LARGEST_BATCH, len(subject.validation.labels))


# ---- metrics and losses -----------------------------------------------------------------------------


def _measure(subject: Subject, objective: str) -> Measure | None:
    """Return the function that computes the objective; None if it is not one of the validation images' metrics."""
    if not objective.startswith(_PREFIX):
        return None  # a metric of the training images is the mean over an epoch in which the model changed
    config = _compile_config(subject.file)
    if objective == _LOSS:
        return _loss_measure(subject.model, config)
    return _metric_measure(objective.removeprefix(_PREFIX), config)


def _compile_config(file: Path) -> Mapping[str, Any]:
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read("config.json")).get("compile_config")
    return config if isinstance(config, dict) else {}


def _loss_measure(model: Any, config: Mapping[str, Any]) -> Measure | None:
    from keras import ops
    from keras.src.trainers.compile_utils import CompileLoss

    loss = _deserialized(config.get("loss"))
    if loss is None:
        return None
    compiled = CompileLoss(loss, _deserialized(config.get("loss_weights")))
    penalty = sum(float(ops.convert_to_numpy(term)) for term in model.losses)  # before a traced step leaves its own

    def measure(labels: NDArray[Any], outputs: NDArray[np.float32]) -> float | None:
        return _number(lambda: compiled(ops.convert_to_tensor(labels), ops.convert_to_tensor(outputs)), penalty)

    return measure


def _loss_of(subject: Subject, chosen: NDArray[np.intp]) -> Measure:
    """Return the function that computes the loss as Keras reports it: from logits, which the outputs no longer show."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __init__(self, labels: NDArray[Any]) -> None:
            super().__init__()
            self._labels = labels
            self._size = _batch_images(subject)

        def __len__(self) -> int:
            return math.ceil(len(chosen) / self._size)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            part = slice(index * self._size, (index + 1) * self._size)
            subject.progress(min(part.stop, len(chosen)), len(chosen))
            return subject.validation.images[chosen[part]].astype(np.float32), self._labels[part]

    def compute(labels: NDArray[Any], outputs: NDArray[np.float32]) -> float | None:
        return _number(lambda: subject.model.evaluate(Batches(labels), verbose=0, return_dict=True)["loss"])

    config = _compile_config(subject.file)
    keras.Model.compile(  # the class may override compile with other arguments
        subject.model,
        loss=_deserialized(config.get("loss")),
        loss_weights=_deserialized(config.get("loss_weights")),
    )
    return compute


def _metric_measure(name: str, config: Mapping[str, Any]) -> Measure | None:
    from keras.src.trainers.compile_utils import CompileMetrics

    saved, weighted = config.get("metrics"), config.get("weighted_metrics")
    if not saved and not weighted and name == _ACCURACY.removeprefix(_PREFIX):
        saved = [name]  # a training loop of the user's own may need no metrics
    metrics, weighted = _metrics(saved), _metrics(weighted)
    if not metrics and not weighted:
        return None

    def measure(labels: NDArray[Any], outputs: NDArray[np.float32]) -> float | None:
        from keras import ops

        def compute() -> Any:
            compiled.reset_state()
            compiled.update_state(ops.convert_to_tensor(labels), ops.convert_to_tensor(outputs))
            return compiled.result()[name]

        compiled = CompileMetrics(metrics, weighted)
        return _number(compute)

    return measure


def _number(compute: Callable[[], Any], more: float = 0.0) -> float | None:
    """Return a computed scalar plus `more`; None if it cannot be computed or is not finite.

    Raises the framework's exception if memory is exhausted.
    """
    from keras import ops

    try:
        value = float(np.asarray(ops.convert_to_numpy(compute()))) + more
    except Exception as error:  # the labels do not fit the metric, or the metric has another name
        if out_of_memory(error):
            raise
        return None
    return value if np.isfinite(value) else None


def _metrics(saved: Any) -> Any:
    """Return the metrics that can be loaded."""
    metrics = _deserialized(saved)
    if metrics is None and isinstance(saved, list):
        metrics = [metric for each in saved if (metric := _deserialized(each)) is not None]
    return metrics


def _deserialized(config: Any) -> Any:
    """Return the object that Keras saved; None if it cannot be loaded without running code from the file."""
    import keras

    if config is None:
        return None
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception:  # it is not registered, or contains code
        return None


# ---- tolerances -------------------------------------------------------------------------------------


def _rounding(
    model: Any,
    objective: str,
    value: float,
    measure: Measure,
    predicted: tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]],
) -> float:
    """Return by how much two computations of the same model's objective may differ.

    Args:
        model: The model.
        objective: Name of the objective.
        value: The recomputed objective.
        measure: Computes the objective.
        predicted: Labels as integers, labels as the metric takes them, and outputs.
    """
    labels, reading, outputs = predicted
    rounding = _HALF if _computes_in_half(model) else _SINGLE
    if objective == _LOSS:
        return rounding.absolute + rounding.relative * abs(value)
    if objective == _ACCURACY:
        near = int((_margins(labels, outputs) < rounding.margin).sum())
        return rounding.absolute + Z_999 * math.sqrt(near) / len(labels)
    # a metric with few positives changes by much if one image near the margin does: see by how much
    rng = np.random.default_rng(0)
    noises = (rng.uniform(-rounding.margin, rounding.margin, outputs.shape) for _ in range(ROUNDINGS))
    noisy = (np.clip(outputs + noise, 0, 1) for noise in noises)
    values = [each for near_by in noisy if (each := measure(reading, near_by.astype(np.float32))) is not None]
    # not the distance from the value itself: noise makes a model worse, rounding does not
    return rounding.absolute + Z_999 * (float(np.std(values)) if values else 0.0)


def _computes_in_half(model: Any) -> bool:
    return any(layer.compute_dtype in ("bfloat16", "float16") for layer in model._flatten_layers())


def _margins(labels: NDArray[Any], outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the difference between the probabilities of the true class and of its strongest rival."""
    if outputs.shape[1] == 1:
        margins: NDArray[np.float32] = np.abs(2 * outputs[:, 0] - 1)
        return margins
    rows = np.arange(len(labels))
    rivals = outputs.copy()
    rivals[rows, labels] = -np.inf
    difference: NDArray[np.float32] = np.abs(outputs[rows, labels] - rivals.max(axis=1))
    return difference


def _sampling(measure: Measure, labels: NDArray[Any], outputs: NDArray[np.float32]) -> float:
    """Return the half width of the 99.9 % interval of a metric of all images, from the images of a sample."""
    rng, count = np.random.default_rng(0), len(labels)
    samples = (rng.integers(count, size=count) for _ in range(RESAMPLES))
    values = [value for sample in samples if (value := measure(labels[sample], outputs[sample])) is not None]
    deviation = float(np.std(values)) if values else 0.0
    largest = max(1.0, *map(abs, values)) if values else 1.0
    return Z_999 * deviation + NONE_SEEN / count * largest


def _is_telling(
    subject: Subject,
    metrics: Mapping[str, float],
    objective: str,
    labels: NDArray[Any],
    outputs: NDArray[np.float32],
) -> bool:
    """Return whether the model tells images apart, and has about the reported loss if another objective was checked."""
    # Another loss leads to another check and is no alarm. Honest losses may differ although the objective agrees: `fit`
    # may validate with sample weights or smoothed labels, or report a loss of its own or one without penalty terms.
    predicted = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    if len(np.unique(predicted)) < 2:
        return False
    reported = metrics.get(_LOSS) if objective != _LOSS else None
    measure = _measure(subject, _LOSS) if reported is not None else None
    loss = measure(labels, outputs) if measure else None
    return loss is None or reported is None or loss <= GROSS * reported + 0.5
