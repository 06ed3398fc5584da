"""How far a search is, and how long it will take."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tuner import names
from tuner.config.settings import Algorithm
from tuner.rpc.lease_service import WorkerStatus
from tuner.study.state import StudyState, Trial, TrialState


@dataclass(frozen=True)
class Pace:
    """How fast the search goes on, measured since `began` (seconds, monotonic) with `done` epochs before it."""

    began: float
    done: float

    def left_s(self, state: StudyState, workers: Sequence[WorkerStatus]) -> float | None:
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
