"""Evaluations of studies of images, whose results have the numbers of classified images."""

from pathlib import Path

from tuner.bucket import Bucket
from tuner.data.source import ignore_progress
from tuner.evaluation import result_files
from tuner.evaluation.measurement import ReportProgress
from tuner.evaluation.result import Metrics
from tuner.evaluator import run


def evaluate(bucket: Bucket, study: str, cache: Path, report_progress: ReportProgress = ignore_progress) -> Metrics:
    """Evaluate a study's best model (`tuner.evaluator.run.evaluate`)."""
    metrics = run.evaluate(bucket, study, cache, report_progress)
    assert isinstance(metrics, Metrics)
    return metrics


def read_metrics(bucket: Bucket, study: str) -> Metrics | None:
    """Return the content of metrics.json (`tuner.evaluation.result_files.read_metrics`)."""
    metrics = result_files.read_metrics(bucket, study)
    assert metrics is None or isinstance(metrics, Metrics)
    return metrics
