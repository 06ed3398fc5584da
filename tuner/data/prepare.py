"""Prepare a study's data set: a Job packs it, and leaves a note for the chief.

In a cluster, the Job packs while the chief and the workers start. Because a bucket may contain many data sets, the note
names the one into which the study's `data.source` was packed.
"""

import time
from collections.abc import Callable

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import Versioned
from tuner.config.settings import Study
from tuner.data.manifest import Manifest
from tuner.data.pack import pack
from tuner.data.source import Progress, ignore_progress
from tuner.errors import DataError, EnvironmentFailure, NewerFormatError, ObjectNotFoundError

POLL_S = 1.0


class Prepared(Versioned):
    """The content of the note."""

    source: str | None
    """The study's `data.source`. The note does not apply to another source."""
    digest: str


def prepare(study: Study, bucket: Bucket, progress: Callable[[Progress], None] = ignore_progress) -> Manifest:
    """Pack the study's data if the bucket does not have it, write the note, and return the manifest.

    Raises DataError, BucketError.
    """
    manifest = pack(study.data.source, bucket, progress=progress)
    note = Prepared(source=study.data.source, digest=manifest.digest)
    bucket.write(names.prepared(study.name), note.model_dump_json().encode())
    return manifest


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


def _read(study: Study, bucket: Bucket) -> str | None:
    try:
        note = Prepared.model_validate_json(bucket.read(names.prepared(study.name)))
    except NewerFormatError as error:
        raise DataError(f"{bucket.url}: {names.prepared(study.name)} {error}") from None
    except (ObjectNotFoundError, ValidationError):
        return None
    return note.digest if note.source == study.data.source else None
