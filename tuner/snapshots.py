"""Snapshots of a study's state, which keep recovery short: the journal is read from the newest one on.

The journal stays the truth, and whole. A snapshot only saves reading it: it is named after the segment that it
follows, the state at a segment is the same whoever computed it, and one that is damaged, or of another version, is
passed over for an older one.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, ObjectNotFoundError
from tuner.trials import StudyState

log = logging.getLogger(__name__)

VERSION = 1
RECORDS, SHARE = 512, 8
"""A snapshot is due after so many records, or an eighth of all there are: making one holds the chief up, by 1 s with
300,000 records, and reading what follows the newest must stay a fraction of reading all."""
KEPT = 2

_STATE: TypeAdapter[StudyState] = TypeAdapter(StudyState)


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    segment: int
    sha256: str
    """Of all that follows the header's line."""


@dataclass(frozen=True)
class Snapshot:
    """A state, and the journal's segment that it is the state after."""

    segment: int
    state: StudyState


def encode(segment: int, state: StudyState) -> bytes:
    """Return a snapshot's bytes."""
    body = _STATE.dump_json(state, by_alias=True)
    header = _Header(version=VERSION, segment=segment, sha256=hashlib.sha256(body).hexdigest())
    return header.model_dump_json().encode() + b"\n" + body


def decode(name: str, data: bytes) -> Snapshot | None:
    """Return what `encode` was given; None where the bytes are not all as it made them."""
    first, _, body = data.partition(b"\n")
    try:
        header = _Header.model_validate_json(first)
        sound = header.version == VERSION and hashlib.sha256(body).hexdigest() == header.sha256
        if sound and header.segment == names.parse_snapshot(name):
            return Snapshot(header.segment, _STATE.validate_json(body))
    except ValidationError:
        pass
    log.warning("%s: the snapshot is damaged, or of another version; an older one is used", name)
    return None


def newest(bucket: Bucket, study: str) -> Snapshot | None:
    """Return the newest snapshot that can be used."""
    for name in reversed(list(_snapshots(bucket, study))):
        try:
            snapshot = decode(name, bucket.read(name))
        except ObjectNotFoundError:  # a chief has just replaced it
            continue
        if snapshot is not None:
            return snapshot
    return None


class Snapshotter:
    """Says when a snapshot is due, and writes it."""

    def __init__(self, bucket: Bucket, state: StudyState) -> None:
        self._bucket = bucket
        self._state = state
        self._records = 0
        """Since the last snapshot."""
        self._all = sum(3 + len(trial.epochs) for trial in state.trials.values())

    def take(self, segment: int, records: int, idle: bool) -> bytes | None:
        """Count the records of a segment that is about to be written; return the state after it where that is due.

        The state must be the one after exactly these records. Not `idle` is who still writes the one before.
        """
        self._records += records
        self._all += records
        if not idle or self._records < max(RECORDS, self._all // SHARE):
            return None
        self._records = 0
        return encode(segment, self._state)

    def write(self, segment: int, data: bytes) -> None:
        """Write a snapshot, and delete all but the newest; a failure is only logged, since it costs time alone."""
        study = self._state.settings.name
        try:
            self._bucket.write(names.snapshot(study, segment), data)
            for old in list(_snapshots(self._bucket, study))[:-KEPT]:
                self._bucket.delete(old)
        except BucketError as error:
            log.warning("no snapshot was made: %s", error)


def _snapshots(bucket: Bucket, study: str) -> Iterator[str]:
    return (name for name in bucket.list(names.snapshots_prefix(study)) if names.parse_snapshot(name) is not None)
