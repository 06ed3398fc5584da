"""Suggestions: Keras Tuner's search algorithms, with a state that can be saved and restored exactly.

Only `populate_space` of Keras Tuner's oracles is used. The oracles' other state cannot be saved (the grid's position,
the Gaussian process's random state), and includes neither leases nor early stopping. Therefore each suggestion contains
the state from which its algorithm continues (`algorithm`). A restarted chief passes the study's state to `restore`, and
gets the same suggestions as a chief that was never interrupted.

A suggestion depends on the seed, the space and the suggestions before it. With grid search, it also depends on the
order in which trials ended. With Bayesian search and Hyperband, it depends on that order and on the results known at
that time. A trial that was stopped early counts as ended, with its score.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from tuner.config.settings import Algorithm, Search, Study
from tuner.errors import ConfigError
from tuner.names import TrialId
from tuner.spaces.exploration import activate
from tuner.study.objective import Objective
from tuner.study.records import TrialState, Value
from tuner.study.state import StudyState

if TYPE_CHECKING:
    import keras_tuner


@dataclass(frozen=True)
class Suggestion:
    """Values for one trial, and the state from which the algorithm continues."""

    trial: TrialId
    values: dict[str, Value]
    algorithm: dict[str, Any]


class NoSuggestion(Enum):
    """Why there is no suggestion."""

    WAIT = auto()  # the next suggestion depends on trials that are still running
    EXHAUSTED = auto()  # there will be no more, because max_trials is reached or the space has no further values


def objective_of(search: Search) -> Objective:
    """Return the search's objective. Raises ConfigError if its direction is neither set nor known to Keras Tuner."""
    from keras_tuner.engine.metrics_tracking import infer_metric_direction

    try:
        direction = infer_metric_direction(search.objective) if search.direction == "auto" else search.direction
    except TypeError:  # Keras Tuner creates the metric without arguments, but some metrics need them (mean_io_u)
        direction = None
    if direction is None:
        raise ConfigError(
            f"Keras Tuner does not know whether a larger or a smaller {search.objective!r} is better. "
            "Set search.direction to max or min."
        )
    return Objective(search.objective, "max" if direction == "max" else "min")


def make_suggester(study: Study, space: "keras_tuner.HyperParameters", objective: Objective) -> "Suggester":
    """Return a suggester that chooses the hyperparameters of `space` with the study's algorithm."""
    import keras_tuner

    compared = keras_tuner.Objective(objective.name, objective.direction)
    common: dict[str, Any] = {"objective": compared, "seed": study.seed, "hyperparameters": space}
    limit = study.search.max_trials
    match study.search.algorithm:
        case Algorithm.RANDOM:
            return Suggester(keras_tuner.oracles.RandomSearchOracle(max_trials=limit, **common), limit)
        case Algorithm.BAYESIAN:
            return _Bayesian(keras_tuner.oracles.BayesianOptimizationOracle(max_trials=limit, **common), limit)
        case Algorithm.GRID:
            return _Grid(keras_tuner.oracles.GridSearchOracle(max_trials=limit, **common), limit)
        case Algorithm.HYPERBAND:
            oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=study.training.epochs, **common)
            return _Hyperband(oracle, None)


class Suggester:
    """Random search, and the base class of the other algorithms. Not thread-safe. A suggestion may take seconds."""

    slow = False
    """Whether a suggestion takes so long that it should be started before a worker needs it."""

    def __init__(self, oracle: "keras_tuner.Oracle", max_trials: int | None) -> None:
        self._oracle = oracle
        self._oracle.verbose = 0
        self._max_trials = max_trials

    def suggest(self) -> Suggestion | NoSuggestion:
        """Return the next suggestion, and register it as a running trial until `ended` is called."""
        number = len(self._oracle.trials)
        if self._max_trials is not None and number >= self._max_trials:
            return NoSuggestion.EXHAUSTED
        trial = TrialId(f"{number:05d}")
        self._prepare(number)
        response = self._oracle.populate_space(trial)
        if response["status"] == "RUNNING":
            # the values returned include Keras Tuner's defaults of active hyperparameters that the algorithm omitted
            return Suggestion(trial, self._register(trial, response["values"]), self._state())
        return NoSuggestion.WAIT if response["status"] == "IDLE" else NoSuggestion.EXHAUSTED

    def restore(self, state: StudyState) -> None:
        """Continue where the suggester of an earlier chief stopped. Must be called before the first suggestion."""
        remaining = Counter(state.steps)
        for trial_id in state.steps:
            trial = state.trials[trial_id]
            remaining[trial_id] -= 1
            if trial_id in self._oracle.trials:
                if remaining[trial_id] or trial.ended is None:  # it was paused then, or it failed and was retried later
                    state_then = TrialState.FAILED if trial.paused_score is None else TrialState.PAUSED
                    self.ended(trial_id, state_then, trial.paused_score, trial.best_epoch)
                else:
                    self.ended(trial_id, trial.state, trial.score, trial.best_epoch)
            else:
                self._restore(trial_id, trial.algorithm)
                self._register(trial_id, self._completed(trial.hyperparameters))

    def ended(self, trial_id: TrialId, state: TrialState, score: float | None, best_epoch: int | None) -> None:
        """Register the end of a trial. A trial that is retried ends several times, and at first is FAILED."""
        trial = self._oracle.trials[trial_id]
        is_first = trial.status == "RUNNING"
        # in Keras Tuner a STOPPED trial has no score
        trial.status = "FAILED" if state is TrialState.FAILED else "COMPLETED"
        trial.score, trial.best_step = score, best_epoch or 0
        self._oracle.ongoing_trials.pop(trial_id, None)
        if is_first:
            self._oracle.end_order.append(trial_id)
            self._ended(trial_id)

    def _completed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Add defaults for hyperparameters that were not yet known when the trial was created."""
        hyperparameters = copy.copy(self._oracle.hyperparameters)
        hyperparameters.values = dict(values)
        activate(hyperparameters)
        return {**hyperparameters.values, **values}

    def _register(self, trial: TrialId, values: dict[str, Value]) -> dict[str, Value]:
        from keras_tuner.engine.trial import Trial

        # all trials share one description of the space, because there may be thousands of trials
        hyperparameters = copy.copy(self._oracle.hyperparameters)
        hyperparameters.values = dict(values)
        keras_trial = Trial(hyperparameters=hyperparameters, trial_id=trial)
        self._oracle._record_values(keras_trial)
        self._oracle.trials[trial] = keras_trial
        self._oracle.ongoing_trials[trial] = keras_trial
        self._oracle.start_order.append(trial)
        return dict(hyperparameters.values)

    # overridden by the algorithms

    def _prepare(self, number: int) -> None:
        """Prepare the oracle for suggestion `number` (from 0)."""

    def _state(self) -> dict[str, Any]:
        return {"seed_state": self._oracle._seed_state}

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        """Restore the state after a suggestion. Called before the suggestion is registered."""
        self._oracle._seed_state = algorithm["seed_state"]

    def _ended(self, trial: TrialId) -> None:
        """Update the state after a trial has ended."""


class _Bayesian(Suggester):
    """Gaussian process. A suggestion depends only on the trials and on its number, so there is no state to save.

    A suggestion takes 0.2 s of CPU time on average, and some take seconds (8 hyperparameters, 25 to 120 trials). The
    next suggestion is started when a trial ends, and considers that trial's result. Therefore it is often ready when
    the worker needs it. If it were started earlier, workers would never wait, but each suggestion would ignore the
    newest result.
    """

    slow = True

    def suggest(self) -> Suggestion | NoSuggestion:
        # With two threads, thousands of tiny products would take 4 times the CPU time. Rounding would also depend on
        # the number of cores, so the suggestion would differ after a restart on another machine.
        with threadpool_limits(1, "blas"):
            return super().suggest()

    def _prepare(self, number: int) -> None:
        oracle = self._oracle
        oracle._random_state = np.random.RandomState((oracle.seed, number))
        oracle.gpr = oracle._make_gpr()
        # Keras Tuner estimates the scores of running trials with the Gaussian process of the previous call. A restarted
        # chief does not have that, so a new Gaussian process is fitted to the trials that have ended.
        trials = oracle.trials
        oracle.trials = {trial_id: trial for trial_id, trial in trials.items() if trial.status == "COMPLETED"}
        try:
            x, y = oracle._vectorize_trials()
        finally:
            oracle.trials = trials
        if len(y):
            oracle.gpr.fit(np.nan_to_num(x, posinf=0, neginf=0), np.nan_to_num(y, posinf=0, neginf=0))


class _Grid(Suggester):
    """Grid search. Its state is the number of trials that it has taken from its queue of trials to continue from."""

    _queued = 0

    def suggest(self) -> Suggestion | NoSuggestion:
        first = not self._oracle.start_order and not self._oracle._populate_next
        suggestion = super().suggest()
        self._queued += 1 if first else 0  # the first trial is queued immediately
        return suggestion if isinstance(suggestion, NoSuggestion) else self._with_position(suggestion)

    def _with_position(self, suggestion: Suggestion) -> Suggestion:
        used = self._queued - len(self._oracle._populate_next)
        return Suggestion(suggestion.trial, suggestion.values, {"used": used})

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        queue, ordered = self._oracle._populate_next, self._oracle._ordered_ids
        if not self._oracle.start_order:
            ordered.insert(trial)
            queue.append(trial)
            self._queued = 1
            return
        source = None
        while self._queued - len(queue) < algorithm["used"]:
            source = queue.pop(0)
        ordered.insert(trial, source)

    def _ended(self, trial: TrialId) -> None:
        self._oracle._populate_next.append(trial)
        self._queued += 1


class _Hyperband(Suggester):
    """Hyperband. Its state is its brackets. Complete brackets are removed, so the state stays small."""

    def _state(self) -> dict[str, Any]:
        oracle = self._oracle
        return {
            "seed_state": oracle._seed_state,
            "brackets": copy.deepcopy(oracle._brackets),  # the oracle changes its own brackets later
            "bracket": oracle._current_bracket,
            "iteration": oracle._current_iteration,
        }

    def _restore(self, trial: TrialId, state: dict[str, Any]) -> None:
        oracle = self._oracle
        oracle._seed_state, oracle._brackets = state["seed_state"], copy.deepcopy(state["brackets"])
        oracle._current_bracket, oracle._current_iteration = state["bracket"], state["iteration"]
