"""Trains the best trials of a search again, with other seeds (search.confirm).

A repetition is an ordinary trial with leases, retries and checkpoints, except that early stopping neither stops it nor
compares other trials with it. Its seed differs because its id does (`tuner.training.seeding`). Repetitions are created
when the search itself has ended, first one of each trial, then the second of each, so that their numbers are balanced
if a budget ends in between. `tuner.study.confirmation` decides which trial wins.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from tuner import names
from tuner.config.formats import FORMAT
from tuner.names import TrialId
from tuner.study.confirmation import counts_in_mean
from tuner.study.records import Created, TrialState, Value
from tuner.study.state import StudyState
from tuner.study.trial import Trial


class Repetitions:
    """The repetitions that wait for a worker, and those that are missing at the end of the search."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._are_created = False
        """Whether this chief has created all repetitions."""
        waiting = [state.trials[trial_id] for trial_id in state.repetitions]
        waiting = [trial for trial in waiting if trial.state is TrialState.QUEUED]
        waiting.sort(key=lambda trial: trial.attempts == 0)  # interrupted ones first
        self.queue = deque(trial.trial_id for trial in waiting)

    @property
    def count(self) -> int:
        """Number of repetitions that can be leased."""
        ending = self._state.ending
        return 0 if ending and ending.ends_everything else len(self.queue)

    @property
    def to_come(self) -> int:
        """Number of repetitions that may still be created, at most."""
        ending, confirm = self._state.ending, self._state.settings.search.confirm
        is_decided = self._are_created or not confirm.is_on or (ending and ending.ends_everything)
        return 0 if is_decided else confirm.trainings

    def next(self) -> TrialId | None:
        """Return the repetition that a worker gets; None if none can be leased."""
        return self.queue[0] if self.count else None

    def missing(self, at: float) -> list[Created]:
        """Return the records that create the missing repetitions, once the search itself has ended.

        Repetitions of an earlier chief are kept. So if a search was continued with more trials, only new trials among
        the best are repeated. Those that ended with the search are replaced if it continues, and those that a user has
        stopped are not.
        """
        ending, confirm = self._state.ending, self._state.settings.search.confirm
        if self._are_created or not confirm.is_on or (ending and ending.ends_everything):
            return []
        self._are_created = True
        best = distinct((trial for trial in self._ranked() if trial.checkpoint), confirm.best)
        counts = {trial.trial_id: 0 for trial in best}
        for trial_id in self._state.repetitions:
            repetition = self._state.trials[trial_id]
            was_cut = repetition.state is TrialState.STOPPED and not counts_in_mean(repetition)
            if repetition.repeats in counts and (repetition.ending or not was_cut):
                counts[repetition.repeats] += 1
        wanted = [trial for turn in range(confirm.seeds) for trial in best if counts[trial.trial_id] <= turn]
        first, newest = len(self._state.trials), self._newest_suggestion()
        return [
            Created(
                at=at,
                trial=TrialId(f"{first + number:05d}"),
                hyperparameters=_repeated(trial),
                algorithm=newest.algorithm,
                repeats=trial.trial_id,
                format=FORMAT,
            )
            for number, trial in enumerate(wanted)
        ]

    def _ranked(self) -> list[Trial]:
        return self._state.ranked(self._state.suggested)

    def _newest_suggestion(self) -> Trial:
        trials = reversed(self._state.trials.values())
        return next(trial for trial in trials if trial.repeats is None)


def distinct(trials: Iterable[Trial], count: int) -> list[Trial]:
    """Return the first `count` trials with different hyperparameters. Hyperband continues trials as other trials."""
    first: dict[str, Trial] = {}
    for trial in trials:
        first.setdefault(repr(sorted(trial.chosen.items())), trial)
        if len(first) == count:
            break
    return list(islice(first.values(), count))


def _repeated(trial: Trial) -> dict[str, Value]:
    """Return the hyperparameters of a repetition, which is trained from its first epoch for as many epochs.

    A trial of Hyperband continues another one, and its repetition does not.
    """
    values = trial.chosen
    if (epochs := trial.hyperparameters.get(names.HP_EPOCHS)) is not None:
        values |= {names.HP_EPOCHS: epochs, names.HP_INITIAL_EPOCH: 0}
    return values
