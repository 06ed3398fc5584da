"""Predictions for new images by a study's evaluated model: class, probability, warnings, heatmaps."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import EnvironmentFailure, UsageError
from tuner.evaluation import saved_model
from tuner.evaluation.calibration import at_temperature
from tuner.evaluation.grad_cam import GradCam
from tuner.evaluation.heatmaps import heatmap_png
from tuner.evaluation.image_files import Readable, Unusable, find, read
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluation.predictions import predictions
from tuner.evaluation.result import Fit, Metrics
from tuner.evaluation.result_files import read_metrics
from tuner.evaluation.trained_model import load_trained_model
from tuner.spaces.arguments import DataFacts
from tuner.study.journal import read_study

AT_ONCE = 256
"""Number of images read and predicted at a time."""
STEM_CHARACTERS = 100


class Answer(BaseModel):
    """The answer for one image: a class or an error."""

    model_config = ConfigDict(frozen=True)

    image: str
    prediction: str | None = None
    probability: float | None = None
    """Probability of the prediction, at the temperature fitted by the evaluation."""

    calibration: Fit | None = None
    """Outcome of fitting the temperature. With `NOT_NEEDED` and `TOO_FEW_MISTAKES`, the probability is the model's own.
    None if an earlier version made the evaluation."""

    probabilities: dict[str, float] = {}
    """Probability of every class."""

    warnings: tuple[str, ...] = ()
    heatmap: str | None = None
    """Path of the heatmap, if one was written."""

    error: str | None = None


@dataclass(frozen=True)
class Predictor:
    """A study's evaluated model."""

    model: Any
    metrics: Metrics
    height: int
    width: int

    def answers(self, paths: Sequence[Path], heatmaps: Path | None = None) -> Iterator[Answer]:
        """Yield an answer for each file, in order, and write heatmaps to the folder `heatmaps`.

        Raises UsageError if the folder cannot be written to, SpaceError if no heatmap can be made of the model.
        """
        grad_cam = GradCam(self.model) if heatmaps else None
        written: Counter[str] = Counter()
        for files in _batches(find(paths), AT_ONCE):
            images = [
                each if isinstance(each, Unusable) else read(each, self.height, self.width, self.metrics.familiar)
                for each in files
            ]
            answered = self._answer([each for each in images if isinstance(each, Readable)], grad_cam)
            for each in images:
                if isinstance(each, Unusable):
                    yield Answer(image=str(each.path), error=each.reason)
                    continue
                answer, heatmap = next(answered)
                if heatmaps and heatmap:
                    file = _write(heatmaps, each.path, heatmap, written)
                    answer = answer.model_copy(update={"heatmap": str(file)})
                yield answer

    def _answer(self, images: list[Readable], grad_cam: GradCam | None) -> Iterator[tuple[Answer, bytes | None]]:
        if not images:
            return
        pixels = np.stack([image.pixels for image in images])
        classes = self.metrics.classes
        predicted = predictions(saved_model.probabilities(self.model, pixels, len(classes), AT_ONCE))
        calibration = self.metrics.calibration
        by_class = predicted.by_class
        calibrated = at_temperature(by_class, calibration.temperature) if calibration else by_class
        heat = grad_cam.heatmaps(pixels, predicted.predicted) if grad_cam else None
        for number, image in enumerate(images):
            answer = Answer(
                image=str(image.path),
                prediction=classes[predicted.predicted[number]],
                probability=float(calibrated[number, predicted.predicted[number]]),
                probabilities=dict(zip(classes, calibrated[number].tolist(), strict=True)),
                calibration=calibration.fit if calibration else None,
                warnings=image.warnings,
            )
            yield answer, None if heat is None else heatmap_png(pixels[number], heat[number])


def open_predictor(bucket: Bucket, study: str) -> Predictor:
    """Return a predictor with the model that the study's evaluation measured.

    Raises EnvironmentFailure if there is no evaluation yet, UsageError if the model does not classify images, and
    SpaceError and BucketError as `load_model` does.
    """
    metrics = read_metrics(bucket, study)
    if metrics is None:
        raise EnvironmentFailure(
            f"study {study!r} has no evaluation in {bucket.url}, so it has no best model yet. "
            "Run `cifake-tune evaluate` after the search."
        )
    name = names.evaluation(study, names.BEST_MODEL)
    if isinstance(metrics, OwnMetrics):
        raise UsageError(
            f"study {study!r} has its own data or evaluation, so how its model takes images is unknown here. Load "
            f"{bucket.url.rstrip('/')}/{name} with keras.saving.load_model() in your own code instead."
        )
    height, width = _size(metrics, (32, 32))
    facts = DataFacts((height, width, 3), len(metrics.classes))
    model = load_trained_model(bucket, name, read_study(bucket, study).settings, facts)
    height, width = _size(metrics, tuple(model.input_shape[1:3]))
    return Predictor(model, metrics, height, width)


def _size(metrics: Metrics, default: tuple[int, ...]) -> tuple[int, int]:
    if metrics.familiar:
        return metrics.familiar.height, metrics.familiar.width
    return default[0], default[1]


def _batches(paths: Iterable[Path | Unusable], size: int) -> Iterator[list[Path | Unusable]]:
    iterator = iter(paths)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _write(folder: Path, image: Path, png: bytes, written: Counter[str]) -> Path:
    """Write a heatmap under the image's name. Further images of the same name get a number."""
    stem = image.name[:STEM_CHARACTERS]
    written[stem] += 1
    file = folder / f"{stem}{f'-{written[stem]}' if written[stem] > 1 else ''}.heatmap.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png)
    except OSError as error:
        raise UsageError(
            f"{file}: the heatmap cannot be written ({error.strerror}). Choose another folder with --heatmap."
        ) from None
    return file
