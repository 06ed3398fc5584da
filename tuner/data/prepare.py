"""Prepare a study's data set: a Job packs it, and leaves a note for the chief.

In a cluster, the Job packs while the chief and the workers start. Because a bucket may contain many data sets, the note
names the one into which the study's `data.source` was packed.
"""

import time
from collections.abc import Callable
from typing import Any

from pydantic import Field, ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.data_settings import Data
from tuner.config.formats import Versioned
from tuner.config.settings import Study
from tuner.data.choice import Choice, KeptDataError, choose_data, keep_data
from tuner.data.source import Progress, ignore_progress
from tuner.errors import DataError, EnvironmentFailure, NewerFormatError, ObjectNotFoundError

POLL_S = 1.0

_PACKING = {"resize", "convert", "test", "test_seed", "labels", "columns"}
"""The settings of `data`, beside `source`, that determine the data set."""


class Prepared(Versioned):
    """The content of the note."""

    source: str | None
    """The study's `data.source`. The note does not apply to another source."""
    digest: str
    packing: dict[str, Any] = Field(default_factory=dict)
    """The settings that determine the data set and differ from their defaults. The note does not apply to others."""


def prepare(
    study: Study,
    bucket: Bucket,
    progress: Callable[[Progress], None] = ignore_progress,
    recorded: str | None = None,
) -> Choice:
    """Pack the study's data if the bucket does not have it, write the note, and return the data set.

    `recorded` is the digest of the data set with which the study began, which it keeps; None if it has not begun. It
    then keeps the data set of an earlier note if it has no source. Raises UsageError, DataError, BucketError.
    """
    if recorded is None and study.data.source is None:
        recorded = _read(study, bucket)
    try:
        choice = choose_data(study, bucket, recorded, progress)
    except KeptDataError:  # also if a newer version packs the same source differently
        assert recorded is not None
        choice = keep_data(study, bucket, recorded, f"{study.data.source} is another data set now")
    except DataError as error:  # an upgrade with a source that cannot be packed must not end a search
        if recorded is None:
            raise
        choice = keep_data(study, bucket, recorded, str(error).removesuffix("."))
    note = Prepared(source=study.data.source, digest=choice.manifest.digest, packing=_packing(study.data))
    bucket.write(names.prepared(study.name), note.model_dump_json().encode())
    return choice


def await_prepared(
    study: Study,
    bucket: Bucket,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait for the note, and return the data set's digest.

    Raises EnvironmentFailure after `timeout_s`, and DataError if the note has a newer major version.
    """
    deadline = clock() + timeout_s
    while (digest := _read(study, bucket)) is None:
        if clock() >= deadline:
            raise EnvironmentFailure(
                f"{bucket.url} has no data for study {study.name!r} after {timeout_s:g} s. "
                "Read the log of the Job that runs `cifake-tune data prepare`. If it packed the data, the bucket was "
                "emptied afterwards: check its volume."
            )
        sleep(POLL_S)
    return digest


def _packing(data: Data) -> dict[str, Any]:
    return data.model_dump(mode="json", include=_PACKING, exclude_defaults=True)


def _read(study: Study, bucket: Bucket) -> str | None:
    try:
        note = Prepared.model_validate_json(bucket.read(names.prepared(study.name)))
    except NewerFormatError as error:
        raise DataError(f"{bucket.url}: {names.prepared(study.name)} {error}") from None
    except (ObjectNotFoundError, ValidationError):
        return None
    return note.digest if (note.source, note.packing) == (study.data.source, _packing(study.data)) else None
