"""The evaluator: measures the best trial's model on the test split, once, and writes what it found.

The files of `studies/<study>/evaluation/` are replaced in this order: metrics.json is deleted, the others are
written, metrics.json is written. So a folder with a metrics.json is whole, and its files belong together.
"""

import json
import logging
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

import tuner
from tuner import names
from tuner.bucket import Bucket
from tuner.errors import NoResultError, ObjectNotFoundError, SurroundingsError
from tuner.journal import read_study
from tuner.report import statistics
from tuner.report.predictions import Predictions, predictions, to_csv_gz
from tuner.report.result import LeakFree, Metrics, OneClass, Versions
from tuner.trials import StudyState, Trial, why_no_result

if TYPE_CHECKING:
    from tuner.data.arrays import Arrays
    from tuner.data.manifest import Manifest

__all__ = ["Metrics", "evaluate", "evaluated", "read_metrics"]

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


def evaluate(bucket: Bucket, study: str, cache: Path, progress: Progress = lambda done, images: None) -> Metrics:
    """Measure the study's best trial on the test split, write the evaluation to the bucket, and return it.

    Where the bucket has the evaluation of that very model already, that is returned and the test split is not
    read. `progress(done, images)` is called after each batch. Raises SurroundingsError while the search still
    runs, NoResultError where no trial of it is usable, SpaceError where the best model cannot be loaded or does
    not answer with probabilities.
    """
    state = read_study(bucket, study)
    best = _best_trial(state, study)
    before = read_metrics(bucket, study)
    if before and _is_of(before, best, state):
        log.info("trial %s of study %s has been evaluated already", best.trial_id, study)
        return before
    if before:
        log.warning(
            "the test split is read again, for trial %s after trial %s (evaluation %d of study %s)",
            best.trial_id, before.best_trial, before.test_evaluations + 1, study,
        )  # fmt: skip
    evaluations = 1 + (before.test_evaluations if before else 0)
    return _evaluate(bucket, state, best, cache, progress=progress, evaluations=evaluations)


def evaluated(bucket: Bucket, study: str) -> Metrics | None:
    """Return the evaluation of the study's best model where the bucket has it, and nothing is left to do.

    Raises what `evaluate` raises of a study that has no best model, or not yet.
    """
    state = read_study(bucket, study)
    best = _best_trial(state, study)
    metrics = read_metrics(bucket, study)
    return metrics if metrics and _is_of(metrics, best, state) else None


def read_metrics(bucket: Bucket, study: str) -> Metrics | None:
    """Return the study's evaluation; None where there is none, or none that this version understands."""
    name = names.evaluation(study, names.METRICS_JSON)
    try:
        return Metrics.model_validate_json(bucket.read(name))
    except ObjectNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s cannot be understood (%s) and is made again", name, error.errors()[0]["msg"])
        return None


def _best_trial(state: StudyState, study: str) -> Trial:
    if state.finished is None:
        raise SurroundingsError(
            f"The search of study {study!r} is not over; the test split is read once, when it is. Try again then."
        )
    if best := state.best(1):
        return best[0]
    raise NoResultError(why_no_result(state))


def _is_of(metrics: Metrics, best: Trial, state: StudyState) -> bool:
    return (metrics.best_trial, metrics.checkpoint, metrics.data_digest) == (
        best.trial_id,
        best.checkpoint,
        state.data_digest,
    )


@dataclass(frozen=True)
class _Context:
    """What an evaluation is of."""

    state: StudyState
    best: Trial
    checkpoint: str
    manifest: "Manifest"
    evaluations: int


def _evaluate(
    bucket: Bucket, state: StudyState, best: Trial, cache: Path, *, progress: Progress, evaluations: int
) -> Metrics:
    # All that needs Keras or the data is imported here: an evaluation made already is answered without.
    from tuner import saved_model
    from tuner.data.arrays import open_split
    from tuner.data.manifest import read_manifest
    from tuner.report.figures import confusion_matrix_png
    from tuner.spaces import load_space

    begun = time.monotonic()
    checkpoint = best.checkpoint
    assert checkpoint is not None  # StudyState.best returns no trial without
    manifest = read_manifest(bucket, state.data_digest)
    about = _Context(state, best, checkpoint, manifest, evaluations)
    study = state.settings
    load_space(study.space, manifest.image_shape, len(manifest.classes))  # registers a user's own layers

    with _folder_in(cache) as folder:
        downloaded, stripped = Path(folder, "checkpoint.keras"), Path(folder, names.BEST_MODEL)
        bucket.download(checkpoint, downloaded)
        model = saved_model.load_model(downloaded, f"{bucket.url}: {checkpoint}")
        test = open_split(bucket, manifest, "test", cache)
        outputs = saved_model.predict(model, test.images, study.evaluation.batch_size, progress)
        found = predictions(saved_model.class_probabilities(outputs, len(manifest.classes)))
        saved_model.save_for_prediction(model, stripped)

        metrics = _measure(about, test, found, time.monotonic() - begun)
        csv = to_csv_gz(manifest.splits["test"].names, test.labels, found, manifest.classes)
        png = confusion_matrix_png(metrics)
        _replace(bucket, metrics, csv, png, stripped)
    return metrics


def _folder_in(cache: Path) -> "tempfile.TemporaryDirectory[str]":
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="evaluate-", dir=cache)
    except OSError as error:
        raise SurroundingsError(f"{cache}: the cache cannot be used ({error.strerror or error}).") from None


def _measure(about: _Context, test: "Arrays", found: Predictions, duration_s: float) -> Metrics:
    from tuner.data.validation import validation_indices

    manifest, best, study = about.manifest, about.best, about.state.settings
    classes = len(manifest.classes)
    labels = np.asarray(test.labels)
    right = found.predicted == labels
    scores = statistics.class_scores(labels, found.predicted, classes)
    assert best.score is not None and best.best_epoch is not None  # noqa: PT018  (StudyState.best)
    validation_accuracy = best.epochs[best.best_epoch].get("val_accuracy")
    validation_images = len(validation_indices(manifest, study.data.validation, study.seed))
    return Metrics(
        study=study.name,
        accuracy=float(right.mean()),
        accuracy_interval_95=statistics.wilson_interval(int(right.sum()), len(right)),
        images=len(right),
        accuracy_without_leaked=_without_leaked(manifest, right),
        roc_auc=statistics.roc_auc(labels, found.by_class),
        log_loss=statistics.log_loss(labels, found.by_class),
        classes=manifest.classes,
        confusion_matrix=tuple(map(tuple, statistics.confusion_matrix(labels, found.predicted, classes))),
        per_class={
            name: OneClass(**score._asdict()) for name, score in zip(manifest.classes, scores, strict=True)
        },
        best_trial=best.trial_id,
        best_epoch=best.best_epoch,
        hyperparameters=best.hyperparameters,
        objective=study.search.objective,
        score=best.score,
        validation_accuracy=validation_accuracy,
        validation_interval_95=_interval(validation_accuracy, validation_images),
        validation_images=validation_images,
        checkpoint=about.checkpoint,
        data_digest=manifest.digest,
        seed=study.seed,
        test_evaluations=about.evaluations,
        versions=_versions(),
        duration_s=round(duration_s, 3),
    )  # fmt: skip


def _interval(accuracy: float | None, images: int) -> statistics.Interval | None:
    """Return the interval of an accuracy that the model reported; None where it cannot be a share of images."""
    if accuracy is None or not 0 <= accuracy <= 1:
        return None
    return statistics.wilson_interval(round(accuracy * images), images)


def _without_leaked(manifest: "Manifest", right: "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]") -> LeakFree:
    trained_on = set(manifest.splits["train"].sha256)
    clean = np.array([digest not in trained_on for digest in manifest.splits["test"].sha256], dtype=bool)
    images, correct = int(clean.sum()), int(right[clean].sum())
    return LeakFree(
        accuracy=correct / images if images else None,
        accuracy_interval_95=statistics.wilson_interval(correct, images) if images else None,
        images=images,
        leaked_images=len(clean) - images,
    )


def _versions() -> Versions:
    import keras

    backend = keras.backend.backend()
    module = __import__(backend)
    return Versions(
        cifake_tune=tuner.__version__,
        python=platform.python_version(),
        keras=version("keras"),
        backend=f"{backend} {getattr(module, '__version__', '')}".strip(),
        numpy=version("numpy"),
    )


def _replace(bucket: Bucket, metrics: Metrics, csv: bytes, png: bytes, model: Path) -> None:
    def name(file: str) -> str:
        return names.evaluation(metrics.study, file)

    confusion = {
        "classes": metrics.classes,
        "rows": "truth",
        "columns": "prediction",
        "counts": metrics.confusion_matrix,
        "percentages": [[100 * n / max(1, sum(row)) for n in row] for row in metrics.confusion_matrix],  # of the row
    }
    bucket.delete(name(names.METRICS_JSON))
    bucket.upload(name(names.BEST_MODEL), model)
    bucket.write(name(names.PREDICTIONS_CSV), csv)
    bucket.write(name(names.CONFUSION_JSON), json.dumps(confusion, indent=2).encode())
    bucket.write(name(names.CONFUSION_PNG), png)
    bucket.write(name(names.METRICS_JSON), metrics.model_dump_json(indent=2).encode())
