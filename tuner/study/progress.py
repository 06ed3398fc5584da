"""How far a search is, and how long it will take."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tuner import names
from tuner.config.settings import Algorithm
from tuner.study.records import TrialState, first_line
from tuner.study.state import StudyState, Trial
from tuner.study.status import WorkerStatus


@dataclass(frozen=True)
class Eta:
    """How fast the search goes on, measured since `began` (seconds, monotonic) with `done` epochs before it."""

    began: float
    done: float

    def remaining_s(self, state: StudyState, workers: Sequence[WorkerStatus]) -> float | None:
        """Return the seconds that are left, as far as they can be known."""
        search, training = state.settings.search, state.settings.training
        if search.algorithm is Algorithm.HYPERBAND:
            return None  # how many epochs it will train depends on its results
        done = epochs_done(state, workers)
        ended = [trial for trial in state.trials.values() if trial.ended]
        open_trials = search.max_trials - len(ended)
        progress = done - self.done
        if open_trials <= 0 or progress < 0.2:
            return None
        in_ended = sum(len(trial.epochs) for trial in ended)
        # those that are stopped early say how long a trial is, on average
        each = in_ended / len(ended) if any(t.state is TrialState.STOPPED for t in ended) else training.epochs
        left = open_trials * each - (done - in_ended)
        return max(0.0, left * (time.monotonic() - self.began) / progress)


def epochs_done(state: StudyState, workers: Sequence[WorkerStatus]) -> float:
    """Return how many epochs all trials have trained, with those under way in part."""
    running = {t.trial_id for t in state.trials.values() if t.state is TrialState.RUNNING}
    parts = sum(worker.progress for worker in workers if worker.trial in running)
    return sum(len(trial.epochs) for trial in state.trials.values()) + parts


def epochs_of(state: StudyState, trial: Trial) -> int:
    """Return for how many epochs a trial is to be trained."""
    return int(trial.hyperparameters.get(names.HP_EPOCHS, state.settings.training.epochs))


def by_interest(state: StudyState) -> list[Trial]:
    """Return the trials that run, then those that have ended, the best first, then the others."""
    sort_key = state.objective.sort_key
    ranks = {TrialState.RUNNING: 0, TrialState.COMPLETED: 1, TrialState.STOPPED: 1, TrialState.QUEUED: 2}

    def key(trial: Trial) -> tuple[int, float, str]:
        return ranks.get(trial.state, 3), sort_key(trial.score or 0.0), trial.trial_id

    return sorted(state.trials.values(), key=key)


Point = TypeVar("Point")


def downsample(points: Sequence[Point], most: int) -> list[Point]:
    """Return so many of the points at most, evenly chosen, the first and last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def why_no_result(state: StudyState) -> str:
    """Return the sentence for a search that is over and has no trial that could be evaluated."""
    failed = [state.trials[trial_id] for trial_id in state.ended if state.trials[trial_id].state is TrialState.FAILED]
    why = f"; the first that failed, {failed[0].trial_id}, says: {first_line(failed[0].reason)}" if failed else ""
    return (
        f"study {state.settings.name!r} has no trial with a score and a saved model, of {len(state.trials)}{why}. "
        "Mend the model or the data, and start it again, or a new study."
    )


def epochs_saved(state: StudyState) -> int:
    """Return how many of training.epochs the trials that were stopped early were spared."""
    stopped = [trial for trial in state.trials.values() if trial.state is TrialState.STOPPED]
    return sum(state.settings.training.epochs - len(trial.epochs) for trial in stopped)
