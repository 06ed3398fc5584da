"""Answers about new images with a study's evaluated model: class, probability, what is unlike training."""

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
from tuner.errors import EnvironmentFailure, SpaceError, UsageError
from tuner.evaluation import saved_model
from tuner.evaluation.calibration import at_temperature
from tuner.evaluation.grad_cam import GradCam
from tuner.evaluation.heatmaps import heatmap_png
from tuner.evaluation.image_files import Readable, Unusable, find, read
from tuner.evaluation.predictions import predictions
from tuner.evaluation.result import Fit, Metrics
from tuner.evaluation.result_files import read_metrics
from tuner.spaces import load_space
from tuner.study.journal import read_study
from tuner.temporary_files import temporary_folder

AT_ONCE = 256
"""Images read, predicted and answered at a time."""
STEM_CHARACTERS = 100


class Answer(BaseModel):
    """What is said of one image; either a class or an error."""

    model_config = ConfigDict(frozen=True)

    image: str
    prediction: str | None = None
    probability: float | None = None
    """Of the prediction, at the temperature that the evaluation found."""

    calibration: Fit | None = None
    """How it was found; with `NOT_NEEDED` and `TOO_FEW_MISTAKES` the probability is the model's own. None: an earlier
    version made the evaluation."""

    probabilities: dict[str, float] = {}
    """Of every class."""

    warnings: tuple[str, ...] = ()
    heatmap: str | None = None
    """The file that was written."""

    error: str | None = None


@dataclass(frozen=True)
class Predictor:
    """A study's evaluated model."""

    model: Any
    metrics: Metrics
    height: int
    width: int

    def answers(self, paths: Sequence[Path], heatmaps: Path | None = None) -> Iterator[Answer]:
        """Yield an answer for each file, in the order given; heatmaps are written to that folder.

        Raises UsageError where the folder cannot be written to, SpaceError where no heatmap can be made of the model.
        """
        eye = GradCam(self.model) if heatmaps else None
        written: Counter[str] = Counter()
        for files in _batches(find(paths), AT_ONCE):
            seen = [
                each if isinstance(each, Unusable) else read(each, self.height, self.width, self.metrics.familiar)
                for each in files
            ]
            answered = self._answer([each for each in seen if isinstance(each, Readable)], eye)
            for each in seen:
                if isinstance(each, Unusable):
                    yield Answer(image=str(each.path), error=each.reason)
                    continue
                answer, heatmap = next(answered)
                if heatmaps and heatmap:
                    file = _write(heatmaps, each.path, heatmap, written)
                    answer = answer.model_copy(update={"heatmap": str(file)})
                yield answer

    def _answer(self, images: list[Readable], eye: GradCam | None) -> Iterator[tuple[Answer, bytes | None]]:
        if not images:
            return
        pixels = np.stack([image.pixels for image in images])
        classes = self.metrics.classes
        said = predictions(saved_model.probabilities(self.model, pixels, len(classes), AT_ONCE))
        calibration = self.metrics.calibration
        sure = at_temperature(said.by_class, calibration.temperature) if calibration else said.by_class
        heat = eye.heatmaps(pixels, said.predicted) if eye else None
        for number, image in enumerate(images):
            answer = Answer(
                image=str(image.path),
                prediction=classes[said.predicted[number]],
                probability=float(sure[number, said.predicted[number]]),
                probabilities=dict(zip(classes, sure[number].tolist(), strict=True)),
                calibration=calibration.fit if calibration else None,
                warnings=image.warnings,
            )
            yield answer, None if heat is None else heatmap_png(pixels[number], heat[number])


def open_predictor(bucket: Bucket, study: str) -> Predictor:
    """Return the model that the study's evaluation measured.

    Raises EnvironmentFailure where there is no evaluation yet, SpaceError and BucketError as `load_model`.
    """
    metrics = read_metrics(bucket, study)
    if metrics is None:
        raise EnvironmentFailure(
            f"study {study!r} has no evaluation in {bucket.url}, and so no best model yet; "
            "`cifake-tune evaluate` makes one when the search is over."
        )
    name = names.evaluation(study, names.BEST_MODEL)
    with temporary_folder() as folder:
        path = Path(folder, names.BEST_MODEL)
        bucket.download(name, path)
        height, width = _size(metrics, (32, 32))
        no_space = ""
        try:  # registers a user's own layers
            load_space(read_study(bucket, study).settings.space, (height, width, 3), len(metrics.classes))
        except SpaceError as error:  # its code may be elsewhere, and Keras's own layers need none
            no_space = str(error)
        try:
            model = saved_model.load_model(path, f"{bucket.url}: {name}")
        except SpaceError as error:
            raise SpaceError(f"{error} {no_space}".strip()) from error
    height, width = _size(metrics, tuple(model.input_shape[1:3]))
    return Predictor(model, metrics, height, width)


def _size(metrics: Metrics, otherwise: tuple[int, ...]) -> tuple[int, int]:
    if metrics.familiar:
        return metrics.familiar.height, metrics.familiar.width
    return otherwise[0], otherwise[1]


def _batches(found: Iterable[Path | Unusable], size: int) -> Iterator[list[Path | Unusable]]:
    iterator = iter(found)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _write(folder: Path, image: Path, png: bytes, written: Counter[str]) -> Path:
    """Write a heatmap under the image's name; of several images of one name, the later ones get a number."""
    stem = image.name[:STEM_CHARACTERS]
    written[stem] += 1
    file = folder / f"{stem}{f'-{written[stem]}' if written[stem] > 1 else ''}.heatmap.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png)
    except OSError as error:
        raise UsageError(f"{file}: the heatmap cannot be written ({error.strerror}).") from None
    return file
