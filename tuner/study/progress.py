"""The progress of a search, its estimated remaining time, and the order in which its trials are displayed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tuner import names
from tuner.config.settings import Policy
from tuner.study.budgets import remaining_budget_s
from tuner.study.records import TrialState, first_line
from tuner.study.rungs import epochs_at
from tuner.study.state import StudyState
from tuner.study.status import WorkerStatus
from tuner.study.trial import Trial


@dataclass(frozen=True)
class Eta:
    """Estimates the remaining time from the speed since `began` (seconds, monotonic).

    `done` epochs had been trained by then.
    """

    began: float
    done: float
    paused_s: float = 0.0
    """`ServedTime.paused_s` by then, because pauses since then do not count."""

    def remaining_s(self, state: StudyState, workers: Sequence[WorkerStatus]) -> float | None:
        """Return the estimated seconds until the first budget or the last trial ends; None if they are unknown.

        They are unknown while the search is paused.
        """
        if state.control.is_paused:
            return None
        done = epochs_done(state, workers)
        budget_s, progress = remaining_budget_s(state), done - self.done
        repeated = [state.trials[trial_id] for trial_id in state.repetitions]
        search = _search_epochs_left(state, done - sum(len(trial.epochs) for trial in repeated))
        remaining = None if search is None else search + _repetition_epochs_left(state, repeated)
        if not remaining or progress < 0.2:
            return budget_s
        searched_s = time.monotonic() - self.began - (state.time.paused_s - self.paused_s)
        return _until(remaining * searched_s / progress, budget_s)


def _until(trials_s: float, budget_s: float | None) -> float:
    return trials_s if budget_s is None else min(trials_s, budget_s)


def _search_epochs_left(state: StudyState, done: float) -> float | None:
    """Return how many epochs the search itself is expected to train yet; None if that depends on its results.

    `done` epochs of its trials have been trained.
    """
    search, training = state.settings.search, state.settings.training
    if state.repetitions and (state.ending or not any(trial.ended is None for trial in state.suggested)):
        return 0.0
    if (most := state.max_trials) is None:
        return None
    ended = [trial for trial in state.suggested if trial.ended]
    open_trials = most - len(ended)
    if open_trials <= 0:
        return 0.0
    if search.early_stopping.policy is Policy.PROMOTION:
        return _promotion_epochs_left(state, most, done)
    # if trials are stopped early, the average length of the trials that have ended is the best estimate
    in_ended = sum(len(trial.epochs) for trial in ended)
    stopping = any(trial.state is TrialState.STOPPED and not trial.budget for trial in ended)
    epochs_per_trial = in_ended / len(ended) if stopping else training.epochs
    return max(0.0, open_trials * epochs_per_trial - (done - in_ended))


def _repetition_epochs_left(state: StudyState, repeated: Sequence[Trial]) -> float:
    """Return how many epochs of repetitions (search.confirm) are to be trained yet."""
    if repeated:
        return sum(epochs_of(state, trial) - len(trial.epochs) for trial in repeated if trial.ended is None)
    return state.settings.search.confirm.trainings * state.settings.training.epochs


def _promotion_epochs_left(state: StudyState, max_trials: int, done: float) -> float:
    """Return how many epochs a search of this number of trials with promotion is expected to train yet.

    Of the trials at each rung, the share that the policy promotes is trained to the next one, and at least the
    finalists are. While trials run after the last suggestion, the best of them must reach its last epoch at least.
    """
    search, whole = state.settings.search, state.settings.training.epochs
    expected, before, rung = 0, 0, 0
    while before < whole:
        epochs = min(epochs_at(search.early_stopping, rung), whole)
        trials = max(max_trials // search.early_stopping.reduction_factor**rung, search.finalists)
        expected, before, rung = expected + trials * (epochs - before), epochs, rung + 1
    running = [len(trial.epochs) for trial in state.suggested if trial.state is TrialState.RUNNING]
    is_last = state.suggested_count >= max_trials and running
    return max(expected - done, len(running) * (whole - max(running)) if is_last else 0.0)


def remaining_s(state: StudyState, now: float) -> float | None:
    """Return the estimated remaining seconds of a search, from its speed since its newest chief started.

    `now` is in seconds since 1970. None if they cannot be estimated.
    """
    opened = state.opened
    if opened is None:
        return None
    before = sum(at < opened for trial in state.trials.values() for at in trial.reported.values())
    began, paused_s = time.monotonic() - max(0.0, now - opened), state.time.paused_before_s
    return Eta(began, before, paused_s).remaining_s(state, [])


def epochs_done(state: StudyState, workers: Sequence[WorkerStatus]) -> float:
    """Return the number of epochs that all trials have trained, with the trained fractions of current epochs."""
    running = {t.trial_id for t in state.trials.values() if t.state is TrialState.RUNNING}
    parts = sum(worker.progress for worker in workers if worker.trial in running)
    return sum(len(trial.epochs) for trial in state.trials.values()) + parts


def epochs_of(state: StudyState, trial: Trial) -> int:
    """Return the number of epochs for which a trial will be trained."""
    return int(trial.hyperparameters.get(names.HP_EPOCHS, state.settings.training.epochs))


def epochs_planned(state: StudyState, trial: Trial, epochs: int) -> int | None:
    """Return `epochs_of`; None if the trial has more `epochs`, as the `run_trial` of a script may train more."""
    total = epochs_of(state, trial)
    return total if epochs <= total else None


def by_interest(state: StudyState) -> list[Trial]:
    """Return the running trials, then the trials with a score (the best first), then the queued and failed trials."""
    sort_key = state.objective.sort_key
    scored = (TrialState.COMPLETED, TrialState.STOPPED, TrialState.PAUSED)
    ranks = {TrialState.RUNNING: 0, **dict.fromkeys(scored, 1), TrialState.QUEUED: 2}

    def key(trial: Trial) -> tuple[int, float, str]:
        return ranks.get(trial.state, 3), sort_key(trial.score or 0.0), trial.trial_id

    return sorted(state.trials.values(), key=key)


Point = TypeVar("Point")


def downsample(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most `most` of the points, evenly spaced, including the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def why_no_result(state: StudyState) -> str:
    """Return the error message for a finished search without a trial that can be evaluated."""
    failed = [state.trials[trial_id] for trial_id in state.ended if state.trials[trial_id].state is TrialState.FAILED]
    if _was_stopped(state) and not failed:
        return (
            f"the search of study {state.settings.name!r} was ended by cifake-tune stop before any trial had both a "
            "score and a saved model. Start the study again with a larger search.max_trials, which continues it."
        )
    if state.finished and state.finished.budget and not failed:
        return (
            f"the search of study {state.settings.name!r} was {state.finished.reason} before any trial had both a "
            f"score and a saved model. Raise {state.finished.budget} and start the study again, which continues it."
        )
    cause = f". Trial {failed[0].trial_id} failed first: {first_line(failed[0].reason)}" if failed else ""
    return (
        f"no trial of study {state.settings.name!r} has both a score and a saved model (number of trials: "
        f"{len(state.trials)}){cause}. Fix the model or the data, then run the study again, which retries its failed "
        "trials."
    )


def end_of_search(state: StudyState) -> str:
    """Return why the search has finished, and the best trial if it was stopped then; empty if it has not finished."""
    if state.finished is None:
        return ""
    reason, best = first_line(state.finished.reason), state.best()
    if not (state.finished.budget or _was_stopped(state)) or not best or not best[0].budget:
        return reason
    epochs = f"{len(best[0].epochs)} of {epochs_of(state, best[0])} epochs"
    return f"{reason}, before the best trial {best[0].trial_id} was complete ({epochs})"


def _was_stopped(state: StudyState) -> bool:
    """Return whether a user has stopped the search."""
    return state.ending is not None and state.ending.is_requested


def epochs_saved(state: StudyState) -> int:
    """Return how many epochs early stopping has saved.

    Each stopped trial saves training.epochs minus the number of epochs that it has trained. A trial that a budget
    stopped saves nothing, because it was not finished.
    """
    stopped = [trial for trial in state.trials.values() if trial.state is TrialState.STOPPED and not trial.budget]
    return sum(state.settings.training.epochs - len(trial.epochs) for trial in stopped)
