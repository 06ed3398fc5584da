"""What a search leaves behind, by which it is judged: its journal, its bucket, the work done, the exit codes."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import ObjectNotFoundError
from tuner.study.journal import Header, decode
from tuner.study.records import Record


@dataclass(frozen=True)
class Segment:
    """One object of the journal."""

    number: int
    writer: str
    """Of its header: the chief's random id."""
    records: tuple[Record, ...]


class What(StrEnum):
    """What a worker's training says of itself."""

    START = "start"  # an attempt
    BEGIN = "begin"  # an epoch
    END = "end"  # an epoch, trained and validated, before it is saved or reported
    RAISE = "raise"  # an exception that the space raises on purpose
    EXHAUST = "exhaust"  # a MemoryError, on purpose


@dataclass(frozen=True)
class Mark:
    """A line that training itself wrote, whatever was reported: real work, counted."""

    at: float
    """Seconds since 1970, of the worker's clock: the chief's too, on one machine."""
    worker: str
    pid: int
    key: int
    """The hyperparameter that no two trials share."""
    what: What
    epoch: int


class Change(StrEnum):
    """What happened to an object."""

    STORED = "stored"
    DELETED = "deleted"


@dataclass(frozen=True)
class ObjectEvent:
    """A change that the bucket carried out, whether or not its answer arrived."""

    change: Change
    name: str


class Role(StrEnum):
    """A process's role."""

    CHIEF = "chief"
    WORKER = "worker"


@dataclass(frozen=True)
class Exit:
    """How a process ended, and what had been done to it."""

    name: str
    role: Role
    code: int
    """As a shell has it: 128 + the signal's number where a signal ended it."""
    killed: bool = False
    terminated: bool = False
    replaced: bool = False
    """A newer chief was started while it ran."""
    late: bool = False
    """It was still starting when the search was over, and was terminated: there may be no chief for it any more."""


@dataclass(frozen=True)
class Reign:
    """A time in which one chief, and no other, was there for every worker to hear from; in the marks' seconds."""

    first: float
    last: float


@dataclass(frozen=True)
class Left:
    """All that a search left; what is None was not recorded, and is not judged."""

    segments: tuple[Segment, ...]
    objects: frozenset[str]
    """Names of what is in the bucket at the end."""
    marks: tuple[Mark, ...] | None = None
    history: tuple[ObjectEvent, ...] | None = None
    """In the order in which the bucket carried them out."""
    exits: tuple[Exit, ...] | None = None
    reigns: tuple[Reign, ...] | None = None
    """None: there was always one."""


def read_segments(bucket: Bucket, study: str) -> tuple[Segment, ...]:
    """Return the whole journal, in the order of its numbers. Raises JournalError, UsageError."""
    segments = []
    for name in bucket.list(names.journal_prefix(study)):
        number = names.parse_journal_segment(name)
        if number is None:
            continue
        try:
            data = bucket.read(name)
        except ObjectNotFoundError:
            continue
        writer = Header.model_validate_json(data.partition(b"\n")[0]).writer
        segments.append(Segment(number, writer, tuple(decode(name, data))))
    return tuple(segments)


def hold_file(marks: Path) -> Path:
    """Return the file, beside that of the marks, while which is there the workers train slowly."""
    return marks.with_name("hold")


def append_mark(file: Path, mark: Mark) -> None:
    """Append a line, whole whoever else appends, and there even if we are killed right afterwards."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, json.dumps(asdict(mark)).encode() + b"\n")
    finally:
        os.close(descriptor)


def read_marks(file: Path) -> tuple[Mark, ...]:
    """Return the marks in the order in which they were written."""
    if not file.exists():
        return ()
    return tuple(_mark(line) for line in file.read_text(encoding="utf-8").splitlines())


def _mark(line: str) -> Mark:
    values = json.loads(line)
    return Mark(**{**values, "what": What(values["what"])})


def records_of(segments: Iterable[Segment]) -> list[Record]:
    """Return all records, in order."""
    return [record for segment in segments for record in segment.records]
