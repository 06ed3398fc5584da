"""Snapshots of a study's state, which keep recovery short: the journal is read from the newest one on.

The journal stays the truth, and whole. A snapshot only saves reading it: it is named after the segment that it
follows, the state at a segment is the same whoever computed it, and one that is damaged, or of another version, is
passed over for an older one.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, ObjectNotFoundError
from tuner.study.state import TRANSITIONS, StudyState, Trial

log = logging.getLogger(__name__)

VERSION = 3
RECORDS, SHARE = 512, 8
"""A snapshot is due after so many records, or an eighth of all there are: one of 300,000 records takes 1 s of a
processor, and reading what follows the newest must stay a fraction of reading all."""
KEPT = 2

_STATE: TypeAdapter[StudyState] = TypeAdapter(StudyState)
_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)


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


def frozen_copy(state: StudyState) -> StudyState:
    """Return the state as it is now, to be read by another thread while it moves on.

    Trials that have ended move no more, and are shared.
    """
    trials = {trial.trial_id: _still(trial) if TRANSITIONS[trial.state] else trial for trial in state.trials.values()}
    first = {rung: trial_ids.copy() for rung, trial_ids in state.first.items()}
    return replace(state, trials=trials, ended=state.ended.copy(), steps=state.steps.copy(), first=first)


def _still(trial: Trial) -> Trial:
    made = copy(trial)
    made.epochs, made.checkpoints, made.sha256 = trial.epochs.copy(), trial.checkpoints.copy(), trial.sha256.copy()
    made.rungs, made.outcomes, made.reported = trial.rungs.copy(), trial.outcomes.copy(), trial.reported.copy()
    return made


def encode(segment: int, state: StudyState) -> bytes:
    """Return a snapshot's bytes."""
    pieces = list(_pieces(state))
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    header = _Header(version=VERSION, segment=segment, sha256=digest.hexdigest())
    return b"".join([header.model_dump_json().encode(), b"\n", *pieces])


def _pieces(state: StudyState) -> Iterator[bytes]:
    """Yield the state's JSON trial by trial: other threads have their turns only between two calls of pydantic's."""
    yield _STATE.dump_json(state, by_alias=True, exclude={"trials"}).removesuffix(b"}") + b',"trials":{'
    comma = b""
    for trial_id, trial in state.trials.items():
        yield comma + json.dumps(trial_id).encode() + b":" + _TRIAL.dump_json(trial, by_alias=True)
        comma = b","
    yield b"}}"


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

    def take(self, records: int, idle: bool) -> StudyState | None:
        """Count the records of a segment that is about to be written; return the state after it where that is due.

        The state must be the one after exactly these records. Not `idle`: the one before is still being written.
        """
        self._records += records
        self._all += records
        if not idle or self._records < max(RECORDS, self._all // SHARE):
            return None
        self._records = 0
        return frozen_copy(self._state)

    def write(self, segment: int, state: StudyState) -> None:
        """Write what `take` returned, and delete all but the newest; a failure is only logged: it costs time alone."""
        study = self._state.settings.name
        try:
            self._bucket.write(names.snapshot(study, segment), encode(segment, state))
            for old in list(_snapshots(self._bucket, study))[:-KEPT]:
                self._bucket.delete(old)
        except BucketError as error:
            log.warning("no snapshot was made: %s", error)


def _snapshots(bucket: Bucket, study: str) -> Iterator[str]:
    return (name for name in bucket.list(names.snapshots_prefix(study)) if names.parse_snapshot(name) is not None)
