"""A chaos run: the faults of a schedule, one after the other, until the search is over all the same."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.bucket_log import BucketLog
from tests.chaos.evidence import Left, Role, hold_file, read_marks, read_segments
from tests.chaos.schedule import Fault, Kind
from tests.chaos.stage import Stage
from tuner import names
from tuner.bucket import Bucket
from tuner.config.settings import DEFAULT_TRIALS, Study
from tuner.study.journal import JournalReader
from tuner.study.records import Served, TrialState

POLL_S = 0.05
READ_S = 0.25
"""Seconds between two listings of the journal, each of which costs milliseconds of the processor."""
PATIENCE_S = 15.0
"""A fault does not wait longer than that for the search to go on."""
STILL_S = 180.0
"""So long without a record, and the search stands still: the run is given up."""
LEAVE_S = 90.0
"""Workers have so long to end after the chief has."""
CALM = 0.25
"""Share of the search, its last, in which nothing happens any more: a worker that is still starting when the search
is over would find no chief."""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    seconds: float
    faults: int
    newest: Kind | None
    trials: int
    """That have ended."""
    term: int
    workers: int
    """That live."""


@dataclass
class Run:
    """One run; `go` does it."""

    study: Study
    bucket: Bucket
    """Without the faulty network in between."""
    schedule: tuple[Fault, ...]
    stage: Stage
    workers: int
    """That are started first."""
    log: BucketLog
    marks: Path
    report_progress: Callable[[Progress], None]
    """Called after every fault and every trial."""
    done: Counter[Kind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._reader = JournalReader(self.bucket, self.study.name)
        self._last_record = self._last_fault = self._last_read = self._began
        self._newest: Kind | None = None

    @property
    def _trials(self) -> int:
        """That the search plans."""
        return self.study.search.max_trials or DEFAULT_TRIALS

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def stands_still(self) -> bool:
        """Whether nothing has been written for too long."""
        return time.monotonic() - self._last_record > STILL_S

    def go(self) -> Left:
        """Run to the search's end, or until it stands still, and return what is left."""
        try:
            self.stage.start_chief()
            for _ in range(self.workers):
                self.stage.add_worker()
            while not self.stage.over and not self.stands_still:
                self.stage.tick()
                self._read()
                self._play()
                self._hold()
                time.sleep(POLL_S)
            deadline = time.monotonic() + LEAVE_S
            while self.stage.cast.living and time.monotonic() < deadline:
                self.stage.tick()
                time.sleep(POLL_S)
        finally:
            self.stage.cast.end()
        return Left(
            segments=read_segments(self.bucket, self.study.name),
            objects=frozenset(self.bucket.list(names.study_prefix(self.study.name))),
            marks=read_marks(self.marks),
            history=tuple(self.log.events),
            exits=tuple(self.stage.cast.exits),
            reigns=tuple(self.stage.reigns),
        )

    @property
    def _through(self) -> int:
        """How many trials have ended, or have been paused: with promotion most of them end with the search."""
        return sum(trial.ended is not None or trial.pauses > 0 for trial in self._reader.state.trials.values())

    def _read(self) -> None:
        if time.monotonic() - self._last_read < READ_S:
            return
        self._last_read = time.monotonic()
        through = self._through
        if any(not isinstance(record, Served) for record in self._reader.poll()):
            self._last_record = time.monotonic()
        if self._through != through:
            self._report_progress()

    def _play(self) -> None:
        number = self.done.total()
        if number == len(self.schedule) or self._reader.state.finished:
            return
        trials_per_fault = self._trials * (1 - CALM) / len(self.schedule)
        late = time.monotonic() - self._last_fault > PATIENCE_S
        if not self._through or (self._through < trials_per_fault * number and not late):
            return
        fault = self.schedule[number]
        trials = self._reader.state.trials.values()
        at_work = {trial.worker for trial in trials if trial.worker and trial.state is TrialState.RUNNING}
        if self.stage.play(fault, at_work):
            self.done[fault.kind] += 1
            self._last_fault = time.monotonic()
            self._newest = fault.kind
            self._report_progress()

    def _hold(self) -> None:
        """Slow the last trials down while faults are left: on a busy machine the search would end before them."""
        calm = self._through >= self._trials * (1 - CALM)
        hold = hold_file(self.marks)
        if calm and self.done.total() < len(self.schedule):
            hold.touch()
        else:
            hold.unlink(missing_ok=True)

    def _report_progress(self) -> None:
        state = self._reader.state
        workers = len(self.stage.cast.of(Role.WORKER))
        self.report_progress(
            Progress(self.seconds, self.done.total(), self._newest, self._through, state.term, workers)
        )
