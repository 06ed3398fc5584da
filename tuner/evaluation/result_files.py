"""Reads an evaluation's files from the bucket."""

import logging

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import NewerFormatError, ObjectNotFoundError
from tuner.evaluation.result import Metrics

log = logging.getLogger(__name__)


def read_metrics(bucket: Bucket, study: str) -> Metrics | None:
    """Return the study's evaluation; None if the bucket has none that this version understands.

    Raises NewerFormatError if its major version is newer, because an older program must not repeat the evaluation.
    """
    name = names.evaluation(study, names.METRICS_JSON)
    try:
        return Metrics.model_validate_json(bucket.read(name))
    except ObjectNotFoundError:
        return None
    except NewerFormatError as error:
        raise NewerFormatError(f"{bucket.url}: {name} {error}") from None
    except ValidationError as error:
        log.warning("cannot read %s (%s), so the evaluation counts as missing", name, error.errors()[0]["msg"])
        return None
