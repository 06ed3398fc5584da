"""Snapshots of a study's state. They keep recovery short, because a reader starts from the newest snapshot.

The journal remains complete and authoritative; a snapshot only saves the time to read its beginning. A snapshot has the
number of the last segment that it includes. Its state does not depend on the process that computed it. If a snapshot is
damaged or has an older version, readers use the snapshot before it.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import FORMAT, Versioned, parse_format
from tuner.errors import BucketError, JournalError, NewerFormatError, ObjectNotFoundError
from tuner.study.state import StudyState
from tuner.study.trial import TRANSITIONS, Trial

log = logging.getLogger(__name__)

RECORDS, SHARE = 512, 8
"""A snapshot is due after 512 new records, or after an eighth of all records if that is more. A snapshot of 300,000
records takes 1 s of CPU time, and the records after the newest snapshot must be only a fraction of all records."""
KEPT = 2
"""Number of snapshots that are kept."""

_STATE: TypeAdapter[StudyState] = TypeAdapter(StudyState)
_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)


class _Header(Versioned):
    version: Annotated[Literal[3], Field(exclude=True)] = 3
    """Version of an old snapshot, which has no `format`. 3 means format 1.0; 1 and 2 lack parts of the state."""

    segment: int
    sha256: str
    """Checksum of everything after the header's line."""
    program: str = ""
    """Newest format that the program which wrote the snapshot reads. Empty before format 1.4: the header's format."""

    @property
    def is_complete(self) -> bool:
        """Whether that program knew all records that this program knows."""
        return parse_format(self.program or self.format) >= parse_format(FORMAT)


@dataclass(frozen=True)
class Snapshot:
    """The state after a segment of the journal."""

    segment: int
    state: StudyState


def frozen_copy(state: StudyState) -> StudyState:
    """Return a copy of the state that another thread may read while the state itself changes.

    The copy shares the trials that have ended, because they no longer change.
    """
    trials = {
        trial.trial_id: _frozen_trial(trial) if TRANSITIONS[trial.state] else trial for trial in state.trials.values()
    }
    first = {rung: trial_ids.copy() for rung, trial_ids in state.first.items()}
    return replace(
        state,
        trials=trials,
        repetitions=state.repetitions.copy(),
        ended=state.ended.copy(),
        steps=state.steps.copy(),
        first=first,
        time=copy(state.time),
        improvement=copy(state.improvement),
    )


def _frozen_trial(trial: Trial) -> Trial:
    clone = copy(trial)
    clone.epochs, clone.checkpoints, clone.sha256 = trial.epochs.copy(), trial.checkpoints.copy(), trial.sha256.copy()
    clone.rungs, clone.outcomes, clone.reported = trial.rungs.copy(), trial.outcomes.copy(), trial.reported.copy()
    clone.work = replace(trial.work, epochs=trial.work.epochs.copy(), first=trial.work.first.copy())
    return clone


def encode(segment: int, state: StudyState) -> bytes:
    """Return a snapshot's bytes."""
    pieces = list(_pieces(state))
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    header = _Header(format=state.needed_format, segment=segment, sha256=digest.hexdigest(), program=FORMAT)
    return b"".join([header.model_dump_json().encode(), b"\n", *pieces])


def _pieces(state: StudyState) -> Iterator[bytes]:
    """Yield the state's JSON one trial at a time, because other threads cannot run during a call of pydantic."""
    yield _STATE.dump_json(state, by_alias=True, exclude={"trials"}).removesuffix(b"}") + b',"trials":{'
    comma = b""
    for trial_id, trial in state.trials.items():
        yield comma + json.dumps(trial_id).encode() + b":" + _TRIAL.dump_json(trial, by_alias=True)
        comma = b","
    yield b"}}"


def decode(name: str, data: bytes) -> Snapshot | None:
    """Return the snapshot that `encode` was given; None if the bytes have changed.

    Also None if an older minor version wrote the snapshot, because that version may have skipped records that this
    version knows. Raises JournalError if the snapshot has a newer major version.
    """
    first, _, body = data.partition(b"\n")
    try:
        header = _Header.model_validate_json(first)
        sound = hashlib.sha256(body).hexdigest() == header.sha256 and header.segment == names.parse_snapshot(name)
        if header.is_complete and sound:
            return Snapshot(header.segment, _STATE.validate_json(body))
    except NewerFormatError as error:
        raise JournalError(f"{name}: the snapshot {error}") from None
    except ValueError:
        pass
    log.warning("%s: the snapshot is damaged or has another version, so it is ignored", name)
    return None


def newest(bucket: Bucket, study: str) -> Snapshot | None:
    """Return the newest snapshot that can be used. Raises JournalError if one has a newer major version."""
    for name in reversed(list(_snapshots(bucket, study))):
        try:
            snapshot = decode(name, bucket.read(name))
        except ObjectNotFoundError:  # a chief has just replaced this snapshot
            continue
        if snapshot is not None:
            return snapshot
    return None


def numbers(bucket: Bucket, study: str) -> list[int]:
    """Return the numbers of the last segments that the study's snapshots include."""
    parsed = (names.parse_snapshot(name) for name in bucket.list(names.snapshots_prefix(study)))
    return [number for number in parsed if number is not None]


class Snapshotter:
    """Decides when a snapshot is due, and writes it."""

    def __init__(self, bucket: Bucket, state: StudyState) -> None:
        self._bucket = bucket
        self._state = state
        self._records = 0
        """Number of records since the last snapshot."""
        self._all = sum(3 + len(trial.epochs) for trial in state.trials.values())

    def take(self, records: int, idle: bool) -> StudyState | None:
        """Count the records of the next segment, and return a copy of the state if a snapshot is due.

        The state must include these records and no later ones. `idle` is true if no snapshot is being written.
        """
        self._records += records
        self._all += records
        if not idle or self._records < max(RECORDS, self._all // SHARE):
            return None
        self._records = 0
        return frozen_copy(self._state)

    def write(self, segment: int, state: StudyState) -> None:
        """Write the state that `take` returned as a snapshot, and delete older snapshots.

        A failure is only logged, because without the snapshot a recovery only takes longer.
        """
        study = self._state.settings.name
        try:
            self._bucket.write(names.snapshot(study, segment), encode(segment, state))
            for old in list(_snapshots(self._bucket, study))[:-KEPT]:
                self._bucket.delete(old)
        except BucketError as error:
            log.warning("a snapshot cannot be written, or an older one cannot be deleted: %s", error)


def _snapshots(bucket: Bucket, study: str) -> Iterator[str]:
    return (name for name in bucket.list(names.snapshots_prefix(study)) if names.parse_snapshot(name) is not None)
