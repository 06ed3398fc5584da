"""Measures a trained model on the test split, against the runner-up, and on corrupted images."""

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tuner
from tuner.data.arrays import Arrays
from tuner.data.manifest import Manifest
from tuner.data.source import Progress
from tuner.errors import BucketError, SpaceError
from tuner.evaluation import saved_model, scores
from tuner.evaluation.calibration import calibration
from tuner.evaluation.confirmed import confirmed_trials
from tuner.evaluation.input_checks import training_profile
from tuner.evaluation.predictions import Predictions, predictions
from tuner.evaluation.resampling import bootstrap, exact_mcnemar, paired_difference
from tuner.evaluation.result import LeakFree, Metrics, OneClass, RunnerUp, Versions, WithFlips, WrongImage
from tuner.evaluation.robustness import Card, robustness
from tuner.evaluation.roc import roc_curves
from tuner.evaluation.subgroups import by_object
from tuner.study.state import StudyState
from tuner.study.trial import Trial

log = logging.getLogger(__name__)

MOST_WRONG = 24

ReportProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Subject:
    """The model's trial and the data on which the model is measured."""

    state: StudyState
    best: Trial
    checkpoint: str
    manifest: Manifest
    evaluations: int
    """Number of the study's models measured on the test split so far, including this one."""

    test: Arrays
    validation: Arrays


@dataclass(frozen=True)
class RunnerUpModel:
    """The second-best trial and its model."""

    trial: Trial
    model: Any


@dataclass(frozen=True)
class Measured:
    """The results of `measure`."""

    metrics: Metrics
    predictions: Predictions
    most_wrong: NDArray[np.uint8]
    """The images of metrics.most_wrong."""

    robustness: Card | None


def measure(
    subject: Subject,
    model: Any,
    runner_up: Callable[[], RunnerUpModel | None],
    report_progress: ReportProgress,
    clock: Callable[[], float],
) -> Measured:
    """Measure `model`, and compare it with the model that `runner_up` loads.

    `report_progress` is called after each batch.
    """
    begun = clock()
    manifest, study, test = subject.manifest, subject.state.settings, subject.test
    classes, labels = len(manifest.classes), np.asarray(test.labels)

    def probabilities(of: Any, images: NDArray[np.uint8], what: str) -> NDArray[np.float64]:
        def progress(done: int, total: int) -> None:
            report_progress(Progress(what, done, total))

        return saved_model.probabilities(of, images, classes, study.evaluation.batch_size, progress)

    def predicted(images: NDArray[np.uint8]) -> NDArray[np.intp]:
        silent = saved_model.probabilities(model, images, classes, study.evaluation.batch_size)
        return predictions(silent).predicted

    plain = probabilities(model, test.images, "testing")
    tested = predictions(plain)
    averaged = probabilities(model, test.images[:, :, ::-1], "mirroring")
    averaged += plain
    averaged /= 2
    with_flips = _with_flips(predictions(averaged), labels)
    del averaged  # with many classes, each of these arrays has hundreds of megabytes
    held_out = predictions(probabilities(model, subject.validation.images, "calibrating"))
    right = tested.predicted == labels
    compared = None
    try:
        if other := runner_up():
            others = predictions(probabilities(other.model, test.images, "comparing"))
            compared = _compared(other.trial, right, others, labels)
    except (BucketError, SpaceError) as error:  # the comparison is optional
        log.warning("cannot compare the best trial with the second best: %s", error)
    most = study.evaluation.robustness_images
    card = (
        robustness(
            test, manifest.classes, most, study.seed, predicted,
            lambda done, of: report_progress(Progress("corrupting", done, of, "corruptions")),
        )
        if most
        else None
    )  # fmt: skip
    wrong = _most_wrong(labels, tested)
    metrics = _plain(subject, tested, labels, right).model_copy(
        update={
            "bootstrap": bootstrap(labels, tested.by_class, study.seed),
            "calibration": calibration(subject.validation.labels, held_out.by_class, labels, tested.by_class),
            "objects": by_object(manifest.splits["test"].names, labels, right, manifest.classes),
            "runner_up": compared,
            "robustness": card.numbers if card else None,
            "most_wrong": tuple(_wrong_image(manifest, labels, tested, int(index)) for index in wrong),
            "roc_curves": roc_curves(labels, tested.by_class, manifest.classes),
            "with_flips": with_flips,
            "familiar": training_profile(manifest, subject.validation.images),
            "duration_s": round(clock() - begun, 3),
        }
    )
    return Measured(metrics, tested, np.asarray(test.images[wrong]), card)


def _plain(subject: Subject, tested: Predictions, labels: scores.Labels, right: NDArray[np.bool_]) -> Metrics:
    manifest, best, study = subject.manifest, subject.best, subject.state.settings
    classes = len(manifest.classes)
    per_class = scores.class_scores(labels, tested.predicted, classes)
    assert best.score is not None and best.best_epoch is not None  # noqa: PT018  (StudyState.best)
    validation_accuracy = best.epochs[best.best_epoch].get("val_accuracy")
    validation_images = len(subject.validation.labels)
    return Metrics(
        study=study.name,
        accuracy=float(right.mean()),
        accuracy_interval_95=scores.wilson_interval(int(right.sum()), len(right)),
        images=len(right),
        accuracy_without_leaked=_without_leaked(manifest, right),
        roc_auc=scores.roc_auc(labels, tested.by_class),
        log_loss=scores.log_loss(labels, tested.by_class),
        classes=manifest.classes,
        confusion_matrix=tuple(map(tuple, scores.confusion_matrix(labels, tested.predicted, classes))),
        per_class={
            name: OneClass(**score._asdict()) for name, score in zip(manifest.classes, per_class, strict=True)
        },
        best_trial=best.trial_id,
        best_epoch=best.best_epoch,
        hyperparameters=best.hyperparameters,
        objective=study.search.objective,
        score=best.score,
        validation_accuracy=validation_accuracy,
        validation_interval_95=_interval(validation_accuracy, validation_images),
        validation_images=validation_images,
        checkpoint=subject.checkpoint,
        data_digest=manifest.digest,
        seed=study.seed,
        test_evaluations=subject.evaluations,
        confirmation=confirmed_trials(subject.state),
        versions=software_versions(),
        duration_s=0.0,
    )  # fmt: skip


def _compared(trial: Trial, right: NDArray[np.bool_], other: Predictions, labels: scores.Labels) -> RunnerUp:
    others_right = other.predicted == labels
    only_best, only_other = int((right & ~others_right).sum()), int((others_right & ~right).sum())
    assert trial.score is not None  # StudyState.best
    return RunnerUp(
        trial=trial.trial_id,
        score=trial.score,
        accuracy=float(others_right.mean()),
        accuracy_interval_95=scores.wilson_interval(int(others_right.sum()), len(labels)),
        only_best_right=only_best,
        only_runner_up_right=only_other,
        p_value=exact_mcnemar(only_best, only_other),
        difference=(only_best - only_other) / len(labels),
        difference_interval_95=paired_difference(only_best, only_other, len(labels)),
    )


def _with_flips(averaged: Predictions, labels: scores.Labels) -> WithFlips:
    right = averaged.predicted == labels
    return WithFlips(
        accuracy=float(right.mean()), accuracy_interval_95=scores.wilson_interval(int(right.sum()), len(right))
    )


def _most_wrong(labels: scores.Labels, tested: Predictions) -> NDArray[np.intp]:
    """Return the indices of the most confident mistakes, the most confident first."""
    mistakes = np.flatnonzero(tested.predicted != labels)
    return mistakes[np.argsort(-tested.probability[mistakes], kind="stable")][:MOST_WRONG]


def _wrong_image(manifest: Manifest, labels: scores.Labels, tested: Predictions, index: int) -> WrongImage:
    return WrongImage(
        name=manifest.splits["test"].names[index],
        label=manifest.classes[labels[index]],
        prediction=manifest.classes[tested.predicted[index]],
        probability=float(tested.probability[index]),
    )


def _interval(accuracy: float | None, images: int) -> scores.Interval | None:
    """Return the interval of an accuracy that the model reported; None if it cannot be a share of images."""
    if accuracy is None or not 0 <= accuracy <= 1:
        return None
    return scores.wilson_interval(round(accuracy * images), images)


def _without_leaked(manifest: Manifest, right: NDArray[np.bool_]) -> LeakFree:
    trained_on = set(manifest.splits["train"].sha256)
    clean = np.array([digest not in trained_on for digest in manifest.splits["test"].sha256], dtype=bool)
    images, correct = int(clean.sum()), int(right[clean].sum())
    return LeakFree(
        accuracy=correct / images if images else None,
        accuracy_interval_95=scores.wilson_interval(correct, images) if images else None,
        images=images,
        leaked_images=len(clean) - images,
    )


def software_versions() -> Versions:
    """Return the versions of the software that runs the evaluation."""
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
