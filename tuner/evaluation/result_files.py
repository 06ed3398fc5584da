"""Reads an evaluation's files from the bucket. A damaged file is an error that names the object."""

import json
from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import DamagedResultError, NewerFormatError, ObjectNotFoundError
from tuner.evaluation.own_result import AnyMetrics, OwnMetrics
from tuner.evaluation.predictions import read_csv_gz
from tuner.evaluation.result import Metrics
from tuner.printable import printable, spreadsheet_cell


def read_metrics(bucket: Bucket, study: str) -> AnyMetrics | None:
    """Return the study's evaluation; None if the bucket has none.

    Raises DamagedResultError if metrics.json is damaged or has impossible numbers, and NewerFormatError if its major
    version is newer.
    """
    name = names.evaluation(study, names.METRICS_JSON)
    try:
        data = bucket.read(name)
        return (OwnMetrics if _is_own(data) else Metrics).model_validate_json(data)
    except ObjectNotFoundError:
        return None
    except NewerFormatError as error:
        raise NewerFormatError(f"{bucket.url}: {name} {error}") from None
    except ValidationError as error:
        raise DamagedResultError(
            f"{bucket.url}: {name} is damaged ({problem_of(error)}). Restore this object from a backup, or run "
            "`cifake-tune evaluate` to measure the model again."
        ) from None


def _is_own(data: bytes) -> bool:
    """Return whether a metrics.json is that of a space with its own data or evaluation."""
    if b'"results"' not in data:  # a class may have this name, too
        return False
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "results" in values


def check_predictions(bucket: Bucket, metrics: Metrics) -> None:
    """Raise DamagedResultError if predictions.csv.gz exists and is damaged or contradicts metrics.json."""
    if len(set(map(spreadsheet_cell, metrics.classes))) < len(metrics.classes):
        return  # the file does not distinguish classes that differ in control characters only
    name = names.evaluation(metrics.study, names.PREDICTIONS_CSV)
    rows = _checked(bucket, name, lambda data: read_csv_gz(data, metrics.classes))
    if rows is not None and rows.confusion_matrix() != metrics.confusion_matrix:
        raise _damaged(bucket, name, f"its predictions do not give the confusion matrix of {names.METRICS_JSON}")


def check_model_card(bucket: Bucket, study: str) -> None:
    """Raise DamagedResultError if model_card.md exists and is not a text. It may have been edited."""
    name = names.evaluation(study, names.MODEL_CARD)
    text = _checked(bucket, name, lambda data: data.decode())
    if text is not None and (not text.strip() or "\0" in text):
        raise _damaged(bucket, name, "it is empty" if not text.strip() else "it is not a text")


def problem_of(error: ValidationError) -> str:
    """Return the first problem of a document, with the key where it is."""
    first = error.errors()[0]
    where, problem = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return printable(f"{where}: {problem}" if where else problem)


Content = TypeVar("Content")


def _checked(bucket: Bucket, name: str, parse: Callable[[bytes], Content]) -> Content | None:
    """Return the parsed content of an object; None if it does not exist."""
    try:
        return parse(bucket.read(name))
    except ObjectNotFoundError:
        return None
    except ValueError as error:  # a UnicodeDecodeError is one, too
        raise _damaged(bucket, name, str(error)) from None


def _damaged(bucket: Bucket, name: str, why: str) -> DamagedResultError:
    return DamagedResultError(
        f"{bucket.url}: {name} is damaged ({printable(why)}). Restore this object from a backup, or delete it."
    )
