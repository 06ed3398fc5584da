"""Reports to look at: a made-up search with an evaluation, without a model."""

import numpy as np

from tests.evaluation.fixtures import metrics_of
from tests.evaluation.searches import HOSTILE, search
from tests.support.records import state_of
from tuner.data.arrays import Arrays
from tuner.evaluation.calibration import calibration
from tuner.evaluation.corruptions import CORRUPTIONS
from tuner.evaluation.predictions import predictions
from tuner.evaluation.provenance import Code, DataSet, Machine, Provenance, Stage
from tuner.evaluation.resampling import bootstrap
from tuner.evaluation.result import Metrics, ObjectClass, RunnerUp, WithFlips, WrongImage
from tuner.evaluation.robustness import robustness
from tuner.evaluation.roc import roc_curves
from tuner.evaluation.scores import Probabilities, wilson_interval
from tuner.evaluation.subgroups import OBJECTS
from tuner.report.html_page import ReportContents
from tuner.report.sprites import png
from tuner.study.attempts import attempts_of


def report_of(
    trials: int, classes: tuple[str, ...] = ("FAKE", "REAL"), hostile: bool = False, seed: int = 0
) -> ReportContents:
    """Return what a report of a search of so many trials is made of; hostile: markup wherever users name things, and
    numbers that are none, or too large for others.
    """
    if hostile:
        classes = tuple(f"{name} {HOSTILE}" for name in classes)
    records = search(trials, workers=4 if trials < 100 else 16, hostile=hostile)
    state, history = state_of(records), attempts_of(records)
    best, second = state.best(2)
    metrics, images = _evaluation(classes, hostile)
    metrics = metrics.model_copy(
        update={
            "best_trial": best.trial_id, "best_epoch": best.best_epoch, "score": best.score,
            "hyperparameters": best.hyperparameters, "checkpoint": best.checkpoint,
            "runner_up": RunnerUp(
                trial=second.trial_id, score=second.score or 0.0, accuracy=0.925,
                accuracy_interval_95=wilson_interval(1850, 2000), only_best_right=88, only_runner_up_right=61,
                p_value=0.033, difference=0.0135, difference_interval_95=(0.001, 0.026),
            ),
        }
    )  # fmt: skip
    stage = Stage(
        trial=best.trial_id,
        seed=17,
        hyperparameters=best.hyperparameters,
        first_epoch=0,
        best_epoch=best.best_epoch or 0,
        epochs=9,
        metrics=best.epochs,
        attempts=tuple(attempt for attempt in history.attempts if attempt.trial == best.trial_id),
    )
    return ReportContents(
        metrics=metrics,
        provenance=_provenance(state.settings.model_dump(mode="json"), stage, len(history.chiefs), classes),
        state=state,
        history=history,
        most_wrong=[png(image) for image in images[: len(metrics.most_wrong or ())]],
        corrupted=[[png(images[0]), png(images[1])]] * len(CORRUPTIONS),
    )


def _evaluation(classes: tuple[str, ...], hostile: bool) -> tuple[Metrics, np.ndarray]:
    rng = np.random.default_rng(1)
    count, images_per_class = len(classes), 2000 // len(classes)
    labels = np.repeat(np.arange(count, dtype=np.uint8), images_per_class)
    test_predictions = predictions(_probabilities(labels, count, rng))
    held_out = _probabilities(labels, count, rng)
    matrix = np.zeros((count, count), int)
    np.add.at(matrix, (labels, test_predictions.predicted), 1)
    images = _images(len(labels), rng)
    card = robustness(
        Arrays(images, labels), classes, 500, 1,
        lambda pixels: rng.permuted(np.where(rng.random(len(pixels)) < 0.9, 0, 1)).astype(np.intp), lambda *_: None,
    )  # fmt: skip
    base = metrics_of(matrix.tolist(), classes, leaked=40 if count == 2 else 0)
    name = HOSTILE if hostile else "0007 (6)"
    accuracies = {
        object_: (0.9 + 0.006 * index, wilson_interval(180 + index, 200)) for index, object_ in enumerate(OBJECTS)
    }
    return base.model_copy(
        update={
            "bootstrap": bootstrap(labels, test_predictions.by_class, 1),
            "calibration": calibration(labels, held_out, labels, test_predictions.by_class),
            "roc_curves": roc_curves(labels, test_predictions.by_class, classes),
            "with_flips": WithFlips(accuracy=0.941, accuracy_interval_95=wilson_interval(1882, 2000)),
            "robustness": card.numbers,
            "objects": tuple(
                ObjectClass(
                    name=object_, images=200, accuracy=accuracy, accuracy_interval_95=bounds,
                    accuracy_by_class=dict.fromkeys(classes, accuracy),
                )
                for object_, (accuracy, bounds) in accuracies.items()
            ),
            "most_wrong": tuple(
                WrongImage(
                    name=f"{classes[0]}/{name}.jpg", label=classes[0], prediction=classes[1],
                    probability=0.999 - 0.004 * number,
                )
                for number in range(24)
            ),
        }
    ), images  # fmt: skip


def _probabilities(labels: np.ndarray, classes: int, rng: np.random.Generator) -> Probabilities:
    logits = rng.normal(size=(len(labels), classes)) + 2.2 * np.eye(classes)[labels]
    raised = np.exp(2.0 * logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _images(count: int, rng: np.random.Generator) -> np.ndarray:
    coarse = rng.integers(20, 235, (count, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return (coarse + rng.normal(0, 9, coarse.shape)).clip(0, 255).astype(np.uint8)


def _provenance(settings: dict[str, object], stage: Stage, chiefs: int, classes: tuple[str, ...]) -> Provenance:
    return Provenance(
        study=settings,
        chiefs=chiefs,
        stages=(stage,),
        checkpoint="studies/cifake/trials/00003/1/00008.keras",
        checkpoint_sha256="cd" * 32,
        trained_with_keras="3.13.0",
        saved_at="2026-11-26@10:00:00",
        data=DataSet(
            digest="ab" * 32, source_digest="ef" * 32, source="cifake.zip", decoder="simplejpeg 1.8", classes=classes,
            image_shape=(32, 32, 3), resize=None, convert=False, training_images=90_000, validation_images=10_000,
            test_images=20_000,
        ),
        code=Code(
            version="0.1.0", revision="12" * 20, image="registry/cifake-tune:v1", space="tuner.spaces.seed:SeedSpace",
            space_sha256="98" * 32,
        ),
        evaluator=Machine(
            python="3.11.9", platform="Linux-6.1-x86_64", processor="x86_64, 2 cores", backend="tensorflow 2.21.0",
            devices=("cpu:0",), packages={f"package-{number}": "1.2.3" for number in range(90)},
        ),
    )  # fmt: skip
