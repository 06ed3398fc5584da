"""The trials that wait for a worker, in the order in which they are leased."""

from collections import deque
from collections.abc import Iterable, Iterator

from tuner.config.settings import Policy
from tuner.names import TrialId
from tuner.search.capacity import Capacity
from tuner.search.closing import Closing
from tuner.search.endings import stopped_at_end, withdrawn
from tuner.search.leases import LeaseTable, Worker
from tuner.search.promotion import Promotion
from tuner.search.repetitions import Repetitions
from tuner.search.reserve import Reserve
from tuner.search.restart_cost import is_nearly_there
from tuner.study.records import AttemptEnded, Created, Ended, Paused, Record, Reported, TrialState, Withdrawn
from tuner.study.state import StudyState
from tuner.study.trial import Trial

NO_WORKER = "no worker that can resume it was left"


class WaitingTrials:
    """Interrupted trials, paused trials that may continue, new trials, and at last repetitions of the best ones.

    A worker gets an interrupted trial. If there is none, it gets the best promotable trial of the highest rung, then a
    new trial, and after the last suggestion the best paused trial. Without promotion, no trial is paused. If a budget
    of hours is about to end, the trials that must be completed come first (`tuner.search.closing`). A repetition is
    leased if there is nothing else, or the search itself has ended (`tuner.search.repetitions`).
    """

    def __init__(self, state: StudyState, leases: LeaseTable) -> None:
        self._state = state
        self._leases = leases
        stopping = state.settings.search.early_stopping
        self.promotion = Promotion(state) if stopping.policy is Policy.PROMOTION else None
        self._capacity = Capacity(state)
        self.reserve = Reserve(state, self._capacity)
        self._closing = Closing(state, self.promotion, self._capacity, self.reserve) if self.promotion else None
        self._last: list[TrialId] | None = None
        """The trials that must be completed before a budget ends; None if that depends on records applied since."""
        self._own_s, self._stock_s = state.time.served_s, 0.0
        """When a worker of this program, and one of Keras Tuner's own workers, were active last."""
        self.repetitions = Repetitions(state)
        self._interrupted: list[TrialId] = []
        self._new: deque[TrialId] = deque()
        for trial in state.suggested:
            if trial.state is TrialState.QUEUED:
                (self._interrupted if trial.attempts else self._new).append(trial.trial_id)
        self._interrupted.sort(key=self._interruption)

    @property
    def queue(self) -> list[TrialId]:
        """The interrupted and the new trials of the search itself."""
        return [*self._interrupted, *self._new]

    @property
    def is_closing(self) -> bool:
        """Whether the search must only complete its finalists, because a budget of hours is about to end."""
        return bool(self._last_trials())

    @property
    def is_left_to_stock(self) -> bool:
        """Whether only trials with saved models wait, and only Keras Tuner's own workers, which cannot resume them.

        Other workers may be replaced, so they must have been inactive for the duration of a stock worker's lease.
        """
        if not (self.promotion or self._interrupted) or self._new or self._for_stock() or self.is_closing:
            return False
        return self._stock_s - self._own_s >= self._state.settings.leases.stock_duration_s

    def applied(self, record: Record) -> None:
        """Register a record that was applied to the state."""
        self._last = None
        if isinstance(record, Created):
            self.add(record.trial)
        if not isinstance(record, Reported | AttemptEnded | Paused | Ended):
            return
        lease = self._leases.of_trial(record.trial)
        if lease and not lease.worker.stock:
            self._own_s = self._state.time.served_s
        if isinstance(record, Reported):
            self._capacity.observe(self._state.trials[record.trial])

    def count(self, starts_trials: bool, stock: bool = False) -> int:
        """Return the number of trials of the search itself that could be leased now, if no budget has ended it.

        Args:
            starts_trials: Whether more trials may be suggested.
            stock: Whether to count those that Keras Tuner's own workers get.
        """
        if stock and self._last_trials():
            return 0 if self._closing and self._closing.is_exclusive else len(self._for_stock())
        if stock:
            return len(self._for_stock()) + len(self._new)
        if self.promotion is None:
            return len(self.queue)
        promotable = self.promotion.promotable_count()
        if (closing := self._closing) and (last := self._last_trials()):
            ready = len(self._not_running(last))
            return ready if closing.is_exclusive else max(ready, len(self._interrupted) + promotable)
        finalists = [] if starts_trials else self.promotion.finalists(self._active())
        # a finalist may be promotable too, but then it is promoted first, and the number only wakes workers
        return len(self.queue) + max(promotable, len(finalists))

    def next(self, worker: Worker, starts_trials: bool) -> TrialId | None:
        """Return the trial that a worker gets; None if none is ready.

        Args:
            worker: The worker. Keras Tuner's own workers get no trial that has a saved model, because they would train
                it from its first epoch, and its model would be lost.
            starts_trials: Whether more trials may be suggested.
        """
        if worker.stock:
            self._stock_s = self._state.time.served_s
        else:
            self._own_s = self._state.time.served_s
        trial = None if self._state.ending else self._of_search(worker, starts_trials)
        return trial or self.repetitions.next()

    def _of_search(self, worker: Worker, starts_trials: bool) -> TrialId | None:
        last = self._last_trials()
        if self._closing is None or not last:
            return self._following(worker, starts_trials)
        if self.promotion and not worker.stock and (ready := self._not_running(last)):
            return self.promotion.preferred(ready, worker.name)
        return None if self._closing.is_exclusive else self._started(worker)

    def _following(self, worker: Worker, starts_trials: bool, leaving: Trial | None = None) -> TrialId | None:
        """Return the trial that a worker gets if no budget is about to end. `leaving` counts as not leased."""
        if trial := self._started(worker):
            return trial
        if self._new:
            return self._new[0]
        if self.promotion is None or starts_trials or worker.stock:
            return None
        return self.promotion.promotable(worker.name) or self.promotion.preferred_finalist(
            worker.name, self._active(leaving)
        )

    def _started(self, worker: Worker) -> TrialId | None:
        """Return the interrupted or promotable trial that a worker gets; None if none is ready."""
        if interrupted := self._for_stock() if worker.stock else self._interrupted:
            return interrupted[0]
        return self.promotion.promotable(worker.name) if self.promotion and not worker.stock else None

    def after_epoch(
        self, trial: Trial, worker: Worker, new_rung: int | None, can_resume: bool, starts_trials: bool
    ) -> str | None:
        """Return why a trial must be paused after the epoch that it has just reported; None if it continues.

        Args:
            trial: The trial, which already includes that epoch.
            worker: The worker that trains it.
            new_rung: The rung that the trial has reached with this epoch, if any.
            can_resume: Whether the trial could continue from a saved model.
            starts_trials: Whether more trials may be suggested.
        """
        if self.promotion is None:
            return None
        if new_rung is not None:
            self.promotion.reach(trial, new_rung)
        if not can_resume or not trial.rungs or is_nearly_there(self._state, trial):
            return None
        if self._goes_on(self.promotion, trial, worker, new_rung, starts_trials):
            return None
        return self.promotion.reason(trial)

    def _goes_on(
        self, promotion: Promotion, trial: Trial, worker: Worker, new_rung: int | None, starts_trials: bool
    ) -> bool:
        """Return whether a running trial continues although it could be paused."""
        if (closing := self._closing) and (last := self._last_trials()):
            if trial.trial_id in last:
                return True
            if closing.is_exclusive or self._not_running(last):
                return False
        if new_rung is not None and self._gets_another(promotion, trial, worker, starts_trials):
            return False
        return not self._is_needless(promotion, trial, starts_trials)

    def _gets_another(self, promotion: Promotion, trial: Trial, worker: Worker, starts_trials: bool) -> bool:
        """Return whether the worker would get another trial if this one, which is running, were paused now."""
        closing = self.is_closing
        promotion.pause(trial)
        following = self._started(worker) if closing else self._following(worker, starts_trials, leaving=trial)
        promotion.resume(trial)
        return starts_trials if following is None else following != trial.trial_id

    def _is_needless(self, promotion: Promotion, trial: Trial, starts_trials: bool) -> bool:
        """Return whether a running trial delays the end of the search for nothing.

        That is so if every running trial is needless and no trial waits, so that the search ends once they are paused.
        """
        if starts_trials or not promotion.is_needless(trial) or self.count(starts_trials):
            return False
        return all(map(promotion.is_needless, self._active(leaving=trial)))

    def add(self, trial: TrialId) -> None:
        """Queue a new trial."""
        (self._new if self._state.trials[trial].repeats is None else self.repetitions.queue).append(trial)

    def interrupt(self, trial: TrialId) -> None:
        """Queue a trial whose attempt was interrupted. It continues before all others."""
        if self._state.trials[trial].repeats is not None:
            self.repetitions.queue.appendleft(trial)
            return
        self._interrupted.append(trial)
        self._interrupted.sort(key=self._interruption)

    def is_searching(self, starts_trials: bool, is_left_to_stock: bool = False) -> bool:
        """Return whether a trial of the search itself is leased, or could be leased if no budget has ended it."""
        if any(self._state.trials[trial].repeats is None for trial in self._leases.trials()):
            return True
        return not self._state.ending and not is_left_to_stock and self.count(starts_trials) > 0

    def pause(self, trial: Trial) -> None:
        """Add a trial that was paused."""
        if self.promotion:
            self.promotion.pause(trial)

    def withdraw(self, at: float, is_left_to_stock: bool) -> Iterator[Ended | Withdrawn]:
        """Remove the paused trials at the end of the search, and yield their ends.

        A trial that would have continued is stopped by the budget that has ended, or because no worker that can resume
        it was left, and the others by their rung. In the second case, interrupted trials are removed too.
        """
        ending, ends = self._state.ending, []
        if is_left_to_stock and not ending:
            yield from self._leave(at)
        if self.promotion is None:
            return
        continuing = self.promotion.continuing()
        for trial in self._state.trials.values():
            if trial.state is not TrialState.PAUSED:
                continue
            if ending and trial.trial_id in continuing:
                ends.append(stopped_at_end(trial, ending.sentence, at, ending.budget))
                continue
            reason = self.promotion.reason(trial)
            if trial.trial_id in continuing:
                reason = f"{reason.partition(': ')[0]}: {NO_WORKER}"
            ends.append(stopped_at_end(trial, reason, at))
        for end in ends:
            self.promotion.resume(self._state.trials[end.trial])
        yield from ends

    def stop(self, trials: Iterable[TrialId], at: float) -> Iterator[Ended | Withdrawn]:
        """Remove those of the trials that a user stops which wait with a score, and yield their ends."""
        for trial in [self._state.trials[trial_id] for trial_id in trials]:
            if trial.ending is None or trial.best_epoch is None:
                continue
            if trial.state is TrialState.PAUSED:
                self.take(trial)
                yield stopped_at_end(trial, trial.ending.sentence, at, trial.ending.budget)
            elif trial.state is TrialState.QUEUED:
                self.take(trial)
                yield withdrawn(self._state, trial, trial.ending, at)

    def take(self, trial: Trial) -> None:
        """Remove a trial that is about to be leased."""
        if self.promotion and trial.state is TrialState.PAUSED:
            self.promotion.resume(trial)
        elif trial.repeats is not None:
            self.repetitions.queue.remove(trial.trial_id)
        else:
            (self._interrupted if trial.trial_id in self._interrupted else self._new).remove(trial.trial_id)

    def _last_trials(self) -> list[TrialId]:
        """Return the trials that must be completed before a budget ends; none if other trials may start too."""
        if self._closing is None:
            return []
        if self._last is None:  # it compares all active trials, which takes long if there are a thousand
            self._last = self._closing.finalists(self._active())
        return self._last

    def _leave(self, at: float) -> Iterator[Withdrawn]:
        """Remove the interrupted trials that no worker can resume (`is_left_to_stock`), and yield their ends."""
        trials = [self._state.trials[trial] for trial in self._interrupted]
        self._interrupted.clear()
        for trial in trials:
            if (best := trial.best_epoch) is not None:  # always, as they have a model of that epoch
                score = trial.epochs[best][self._state.objective.name]
                reason = f"epoch {max(trial.epochs) + 1}: {NO_WORKER}"
                yield Withdrawn(at=at, trial=trial.trial_id, score=score, best_epoch=best, reason=reason, budget="")

    def _for_stock(self) -> list[TrialId]:
        """Return the interrupted trials that Keras Tuner's own workers get."""
        return [trial for trial in self._interrupted if self._state.trials[trial].checkpoint is None]

    def _interruption(self, trial: TrialId) -> tuple[float, TrialId]:
        """Return the sort key of an interrupted trial: the newest interruption comes first, also after a restart."""
        return -self._state.trials[trial].work.interrupted_s, trial

    def _not_running(self, trials: list[TrialId]) -> list[TrialId]:
        return [trial for trial in trials if self._state.trials[trial].state is not TrialState.RUNNING]

    def _active(self, leaving: Trial | None = None) -> list[Trial]:
        trials = [self._state.trials[trial] for trial in (*self._leases.trials(), *self._interrupted)]
        return [trial for trial in trials if trial is not leaving and trial.repeats is None]
