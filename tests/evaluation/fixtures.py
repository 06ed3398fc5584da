"""Metrics to draw and print."""

import numpy as np

from tuner.evaluation import scores as statistics
from tuner.evaluation.result import LeakFree, Metrics, OneClass, Versions
from tuner.names import TrialId


def metrics_of(
    matrix: list[list[int]], classes: tuple[str, ...], leaked: int = 0, evaluations: int = 1, study: str = "cifake"
) -> Metrics:
    """Return an evaluation with this confusion matrix; leaked images were all right."""
    labels = np.repeat(np.arange(len(classes)), [sum(row) for row in matrix])
    predictions = np.concatenate([np.repeat(np.arange(len(classes)), row) for row in matrix])
    images, correct = len(labels), int((labels == predictions).sum())
    scores = statistics.class_scores(labels, predictions, len(classes))
    clean = images - leaked
    return Metrics(
        study=study,
        accuracy=correct / images,
        accuracy_interval_95=statistics.wilson_interval(correct, images),
        images=images,
        accuracy_without_leaked=LeakFree(
            accuracy=(correct - leaked) / clean if clean else None,
            accuracy_interval_95=statistics.wilson_interval(correct - leaked, clean) if clean else None,
            images=clean,
            leaked_images=leaked,
        ),
        roc_auc=0.9812,
        log_loss=0.1834,
        classes=classes,
        confusion_matrix=tuple(map(tuple, matrix)),
        per_class={name: OneClass(**score._asdict()) for name, score in zip(classes, scores, strict=True)},
        best_trial=TrialId("0017"),
        best_epoch=8,
        hyperparameters={"filters": 60, "learning_rate": 0.0005, "optimizer": "adam"},
        objective="val_accuracy",
        score=0.9341,
        validation_accuracy=0.9341,
        validation_interval_95=statistics.wilson_interval(9341, 10_000),
        validation_images=10_000,
        checkpoint=f"studies/{study}/trials/0017/1/00008.keras",
        data_digest="ab" * 32,
        seed=1,
        test_evaluations=evaluations,
        versions=Versions(cifake_tune="0.1.0", python="3.11", keras="3", backend="tensorflow 2", numpy="2"),
        duration_s=12.3,
    )


def cifake() -> Metrics:
    return metrics_of([[9384, 616], [760, 9240]], ("FAKE", "REAL"), leaked=378)
