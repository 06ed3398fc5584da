"""Replaces an evaluation's files in the bucket, so that a folder with a metrics.json is complete."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tuner import names
from tuner.bucket import Bucket
from tuner.evaluation.own_result import AnyMetrics
from tuner.evaluation.result_json import metrics_json


def replace_evaluation(
    bucket: Bucket, metrics: AnyMetrics, model: Path | None, files: Mapping[str, bytes], obsolete: Iterable[str]
) -> None:
    """Replace all files of an evaluation.

    metrics.json is deleted, the other files are written, and metrics.json is written last. So a folder with a
    metrics.json is complete, and its files belong together.

    Args:
        bucket: The bucket.
        metrics: The content of metrics.json.
        model: File of the model for plain Keras; None if Keras cannot save it.
        files: The content of all other files, by name.
        obsolete: Names of files that the previous evaluation may have left.
    """
    bucket.delete(names.evaluation(metrics.study, names.METRICS_JSON))
    if model is None:
        bucket.delete(names.evaluation(metrics.study, names.BEST_MODEL))
    else:
        bucket.upload(names.evaluation(metrics.study, names.BEST_MODEL), model)
    for file in set(obsolete) - set(files):
        bucket.delete(names.evaluation(metrics.study, file))
    for file, data in files.items():
        bucket.write(names.evaluation(metrics.study, file), data)
    bucket.write(names.evaluation(metrics.study, names.METRICS_JSON), metrics_json(metrics).encode())
