"""A search told by hand, correct in all it leaves, for the checker's own tests to spoil."""

from tests.chaos.evidence import Change, Exit, Left, Mark, ObjectEvent, Role, Segment, What
from tests.chaos.work_rules import KEY
from tuner import names
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.names import TrialId
from tuner.study.records import (
    AttemptEnded,
    Created,
    Ended,
    Finished,
    Leased,
    Opened,
    Outcome,
    Paused,
    Record,
    Reported,
    TrialState,
)

STUDY = load(settings=["search.max_trials=4", "training.epochs=3", "retries.failure=1", "retries.out_of_memory=0"])


class Story:
    """Each method is something that happens, a second after what happened before."""

    def __init__(self, study: Study = STUDY) -> None:
        self._study = study
        self.segments: list[Segment] = []
        self.marks: list[Mark] = []
        self.history: list[ObjectEvent] = []
        self.objects: set[str] = set()
        self._at = 1e9
        self._opened = self._at
        self._writer = ""
        self._term = 0
        self._keys: dict[TrialId, int] = {}
        self._running: dict[TrialId, tuple[int, str]] = {}
        self._attempts: dict[TrialId, int] = {}
        self._checkpoints: dict[TrialId, dict[int, str]] = {}
        self._values: dict[TrialId, dict[int, float]] = {}

    def left(self, *exits: Exit) -> Left:
        """Return what it all leaves."""
        return Left(tuple(self.segments), frozenset(self.objects), tuple(self.marks), tuple(self.history), exits)

    def chief(self, writer: str) -> None:
        """A chief opens its term."""
        self._term += 1
        self._writer = writer
        self._write(
            Opened(at=self._now(), term=self._term, writer=writer, study=self._study, data="d", direction="max")
        )

    def create(self, number: int, repeats: TrialId | None = None) -> TrialId:
        """A trial is suggested, or another one must be trained again."""
        trial = TrialId(f"{number:05d}")
        key = self._keys[trial] = number if repeats is None else self._keys[repeats]
        self._write(Created(at=self._now(), trial=trial, hyperparameters={KEY: key}, algorithm={}, repeats=repeats))
        return trial

    def lease(self, trial: TrialId, worker: str) -> None:
        """A worker gets it."""
        attempt = self._attempts[trial] = self._attempts.get(trial, 0) + 1
        self._running[trial] = attempt, worker
        self._write(Leased(at=self._now(), trial=trial, attempt=attempt, worker=worker, incarnation="i"))
        self._mark(trial, What.START, 0)

    def begin(self, trial: TrialId, epoch: int) -> None:
        """An epoch begins."""
        self._mark(trial, What.BEGIN, epoch)

    def train(self, trial: TrialId, epoch: int) -> None:
        """An epoch begins and ends, and nobody hears of it."""
        self.begin(trial, epoch)
        self._mark(trial, What.END, epoch)

    def zombie(self, trial: TrialId, worker: str, epoch: int) -> None:
        """The worker that had the trial before trains an epoch of it."""
        for what in (What.BEGIN, What.END):
            self.marks.append(Mark(self._now(), worker, 1, self._keys[trial], what, epoch))

    def epoch(self, trial: TrialId, epoch: int, value: float) -> None:
        """An epoch is trained, saved and reported."""
        attempt, _ = self._running[trial]
        self.train(trial, epoch)
        name = names.checkpoint(STUDY.name, trial, attempt, epoch)
        self._checkpoints.setdefault(trial, {})[epoch] = name
        self._values.setdefault(trial, {})[epoch] = value
        self.store(name)
        metrics = {"val_accuracy": value}
        self._write(
            Reported(at=self._now(), trial=trial, attempt=attempt, epoch=epoch, metrics=metrics, checkpoint=name)
        )

    def interrupted(self, trial: TrialId, outcome: Outcome) -> None:
        """The attempt ends."""
        attempt, _ = self._running.pop(trial)
        self._write(AttemptEnded(at=self._now(), trial=trial, attempt=attempt, outcome=outcome, reason="…"))

    def paused(self, trial: TrialId) -> None:
        """The trial waits at its rung."""
        attempt, _ = self._running.pop(trial)
        best, score = self._best(trial)
        self._write(Paused(at=self._now(), trial=trial, attempt=attempt, score=score, best_epoch=best))

    def stopped(self, trial: TrialId) -> None:
        """The trial was paused until the search ended."""
        best, score = self._best(trial)
        state: TrialState = TrialState.STOPPED
        attempt = self._attempts[trial]
        self._write(Ended(at=self._now(), trial=trial, attempt=attempt, state=state, score=score, best_epoch=best))

    def _best(self, trial: TrialId) -> tuple[int, float]:
        values = self._values[trial]
        best = max(values, key=lambda epoch: values[epoch])
        return best, values[best]

    def completed(self, trial: TrialId) -> None:
        """The trial ends well."""
        attempt, _ = self._running.pop(trial)
        best, score = self._best(trial)
        state: TrialState = TrialState.COMPLETED
        self._write(Ended(at=self._now(), trial=trial, attempt=attempt, state=state, score=score, best_epoch=best))

    def failed(self, trial: TrialId, outcome: Outcome) -> None:
        """The trial fails."""
        attempt, _ = self._running.pop(trial)
        state: TrialState = TrialState.FAILED
        self._write(Ended(at=self._now(), trial=trial, attempt=attempt, state=state, outcome=outcome, reason="…"))

    def finished(self) -> None:
        """The search is over."""
        self._write(Finished(at=self._now(), reason="all trials have ended"))

    def store(self, name: str) -> None:
        """An object is stored."""
        self.objects.add(name)
        self.history.append(ObjectEvent(Change.STORED, name))

    def delete(self, trial: TrialId, epoch: int) -> None:
        """A saved model is deleted."""
        name = self._checkpoints[trial][epoch]
        self.objects.discard(name)
        self.history.append(ObjectEvent(Change.DELETED, name))

    def _now(self) -> float:
        self._at += 1
        return self._at

    def _write(self, record: Record) -> None:
        if isinstance(record, Opened):
            self._opened = record.at
        else:
            record = record.model_copy(update={"served_s": record.at - self._opened})
        number = len(self.segments) + 1
        self.segments.append(Segment(number, self._writer, (record,)))
        self.store(names.journal_segment(STUDY.name, number))

    def _mark(self, trial: TrialId, what: What, epoch: int) -> None:
        _, worker = self._running[trial]
        self.marks.append(Mark(self._now(), worker, 1, self._keys[trial], what, epoch))


CONFIRM = load(recorded=STUDY, settings=["search.confirm={best: 2, seeds: 2}", "search.max_trials=3"])


def a_confirmation() -> Left:
    """The best two of three trials are trained again twice, and the second of them has the better mean."""
    story = Story(CONFIRM)
    story.chief("only")

    def train(trial: TrialId, value: float, worker: str = "a") -> None:
        story.lease(trial, worker)
        for epoch in range(3):
            story.epoch(trial, epoch, value + epoch / 100)
        story.completed(trial)

    first, second, third = trials = [story.create(number) for number in range(3)]
    for trial, value in zip(trials, (0.8, 0.7, 0.6), strict=True):
        train(trial, value)
    story.delete(third, 2)
    repetitions = [story.create(3 + number, trial) for number, trial in enumerate((first, second, first, second))]
    for trial, value in zip(repetitions, (0.5, 0.6, 0.4, 0.75), strict=True):
        train(trial, value, "b")
    for trial in (second, *repetitions[:3]):
        story.delete(trial, 2)
    story.finished()
    return story.left(Exit("chief-1", Role.CHIEF, 0), Exit("a", Role.WORKER, 0), Exit("b", Role.WORKER, 0))


PROMOTION = load(recorded=STUDY, settings=["search.early_stopping.policy=promotion", "search.max_trials=5"])


def a_contest() -> Left:
    """Four trials of five are paused at the first rung; the best goes on with another worker, to its end."""
    story = Story(PROMOTION)
    story.chief("only")
    trials = []
    for number, value in enumerate((0.5, 0.7, 0.6)):
        trials.append(story.create(number))
        story.lease(trials[-1], "a")
        story.epoch(trials[-1], 0, value)
        story.paused(trials[-1])
    best = trials[1]
    story.lease(best, "b")
    for epoch, value in enumerate((0.8, 0.6), 1):
        story.epoch(best, epoch, value)
    for number, value in enumerate((0.4, 0.3), 3):
        trials.append(story.create(number))
        story.lease(trials[-1], "a")
        story.epoch(trials[-1], 0, value)
        story.paused(trials[-1])
    story.delete(trials[-1], 0)  # it can no longer be promoted
    story.completed(best)
    for trial in trials:
        if trial != best:
            story.stopped(trial)
    story.finished()
    return story.left(Exit("chief-1", Role.CHIEF, 0), Exit("a", Role.WORKER, 0), Exit("b", Role.WORKER, 0))


def a_night() -> Left:
    """Two chiefs, three workers, four trials, with something of everything that may happen."""
    story = Story()
    story.chief("first")
    lost = story.create(0)
    story.lease(lost, "a")
    story.epoch(lost, 0, 0.5)
    story.train(lost, 1)  # trained, and its worker frozen before it was saved
    story.interrupted(lost, Outcome.LOST)
    story.lease(lost, "b")
    story.epoch(lost, 1, 0.7)
    story.zombie(lost, "a", 2)  # which is allowed once
    raises = story.create(1)
    story.lease(raises, "a")
    story.interrupted(raises, Outcome.FAILED)
    story.chief("second")
    story.lease(raises, "c")
    story.failed(raises, Outcome.FAILED)
    story.epoch(lost, 2, 0.6)
    story.delete(lost, 0)
    story.completed(lost)
    story.delete(lost, 2)
    greedy = story.create(2)
    story.lease(greedy, "a")
    story.epoch(greedy, 0, 0.9)
    story.failed(greedy, Outcome.OUT_OF_MEMORY)
    story.delete(greedy, 0)
    good = story.create(3)
    story.lease(good, "c")
    for epoch, value in enumerate((0.1, 0.8, 0.8)):
        story.epoch(good, epoch, value)
    story.completed(good)
    story.finished()
    return story.left(
        Exit("chief-1", Role.CHIEF, 5, replaced=True),
        Exit("chief-2", Role.CHIEF, 0),
        Exit("a", Role.WORKER, 137, killed=True),
        Exit("b", Role.WORKER, 143, terminated=True),
        Exit("c", Role.WORKER, 0),
    )
