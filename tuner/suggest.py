"""Suggestions: Keras Tuner's search algorithms, with a state that can be saved and continued exactly.

Of Keras Tuner's oracles only `populate_space` is used: their own bookkeeping cannot be saved (the grid's
position, the Gaussian process's random state), and knows neither leases nor early stopping. So each suggestion
carries, as `algorithm`, what its algorithm needs to go on after it; a restarted chief feeds the journal's
records to `apply`, in order, and gets the same suggestions as one that never stopped.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.config import Algorithm, Study
from tuner.errors import ConfigError
from tuner.names import TrialId
from tuner.trials import Created, Ended, Record, TrialState, Value

if TYPE_CHECKING:
    import keras_tuner


@dataclass(frozen=True)
class Suggestion:
    """Values for one trial, and what the algorithm needs to go on after it."""

    trial: TrialId
    values: dict[str, Value]
    algorithm: dict[str, Any]


class NoSuggestion(Enum):
    """Why there is none."""

    WAIT = auto()  # it depends on trials that still run
    EXHAUSTED = auto()  # there will be none: all trials are made, or the space has no more


def direction_of(objective: str, given: str) -> str:
    """Return "max" or "min". Raises ConfigError where neither the user nor Keras Tuner says which."""
    from keras_tuner.engine.metrics_tracking import infer_metric_direction

    direction = infer_metric_direction(objective) if given == "auto" else given
    if direction is None:
        raise ConfigError(f"search.direction: set it to max or min; Keras Tuner does not know {objective!r}.")
    return str(direction)


def make_suggester(study: Study, space: "keras_tuner.HyperParameters", direction: str) -> "Suggester":
    """Return the suggester of the study's algorithm over the hyperparameters of `space`."""
    import keras_tuner

    objective = keras_tuner.Objective(study.search.objective, direction)
    common: dict[str, Any] = {"objective": objective, "seed": study.seed, "hyperparameters": space}
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
    """Random search, and what all algorithms share. Not thread-safe, and a suggestion may take seconds."""

    def __init__(self, oracle: "keras_tuner.Oracle", max_trials: int | None) -> None:
        self._oracle = oracle
        self._oracle.verbose = 0
        self._max_trials = max_trials

    def suggest(self) -> Suggestion | NoSuggestion:
        """Return the next suggestion; feed it back with `apply`, as a record, before the next call."""
        number = len(self._oracle.trials)
        if self._max_trials is not None and number >= self._max_trials:
            return NoSuggestion.EXHAUSTED
        trial = TrialId(f"{number:05d}")
        self._prepare(number)
        response = self._oracle.populate_space(trial)
        if response["status"] == "RUNNING":
            # Keras Tuner adds defaults of active hyperparameters that an algorithm left out
            return Suggestion(trial, self._register(trial, response["values"]), self._state())
        return NoSuggestion.WAIT if response["status"] == "IDLE" else NoSuggestion.EXHAUSTED

    def apply(self, records: Iterable[Record]) -> None:
        """Take note of trials that were created or have ended."""
        for record in records:
            if isinstance(record, Created):
                if record.trial not in self._oracle.trials:  # `suggest` has registered its own
                    self._restore(record)
                    self._register(record.trial, dict(record.hyperparameters))
            elif isinstance(record, Ended):
                trial = self._oracle.trials[record.trial]
                # Keras Tuner knows no STOPPED trial that has a score
                trial.status = "FAILED" if record.state is TrialState.FAILED else "COMPLETED"
                trial.score, trial.best_step = record.score, record.best_epoch or 0
                self._oracle.ongoing_trials.pop(record.trial, None)
                self._oracle.end_order.append(record.trial)
                self._ended(record.trial)

    def _register(self, trial: TrialId, values: dict[str, Value]) -> dict[str, Value]:
        from keras_tuner.engine.trial import Trial

        hyperparameters = self._oracle.hyperparameters.copy()
        hyperparameters.values = dict(values)
        made = Trial(hyperparameters=hyperparameters, trial_id=trial)
        self._oracle._record_values(made)
        self._oracle.trials[trial] = made
        self._oracle.ongoing_trials[trial] = made
        self._oracle.start_order.append(trial)
        return dict(hyperparameters.values)

    # what the algorithms differ in

    def _prepare(self, number: int) -> None:
        """Called before suggestion `number` (from 0)."""

    def _state(self) -> dict[str, Any]:
        return {"seed_state": self._oracle._seed_state}

    def _restore(self, record: Created) -> None:
        self._oracle._seed_state = record.algorithm["seed_state"]

    def _ended(self, trial: TrialId) -> None:
        """Called after a trial ended."""


class _Bayesian(Suggester):
    """Gaussian process: all that a suggestion depends on is made from the trials and its number."""

    def _prepare(self, number: int) -> None:
        oracle = self._oracle
        oracle._random_state = np.random.RandomState((oracle.seed, number))
        oracle.gpr = oracle._make_gpr()
        # Keras Tuner guesses the scores of running trials with the process of the call before, which a
        # restarted chief has not made: fit one to the ended trials instead
        trials = oracle.trials
        oracle.trials = {trial_id: trial for trial_id, trial in trials.items() if trial.status == "COMPLETED"}
        try:
            x, y = oracle._vectorize_trials()
        finally:
            oracle.trials = trials
        if len(y):
            oracle.gpr.fit(np.nan_to_num(x, posinf=0, neginf=0), np.nan_to_num(y, posinf=0, neginf=0))


class _Grid(Suggester):
    """Its position is how much of the queue of trials, whose next combination is to be tried, is used up."""

    _queued = 0

    def suggest(self) -> Suggestion | NoSuggestion:
        before = len(self._oracle._populate_next)
        first = not self._oracle.start_order
        suggestion = super().suggest()
        self._queued += 1 if first and before == 0 else 0  # the first trial queues itself
        return suggestion if isinstance(suggestion, NoSuggestion) else self._with_position(suggestion)

    def _with_position(self, suggestion: Suggestion) -> Suggestion:
        used = self._queued - len(self._oracle._populate_next)
        return Suggestion(suggestion.trial, suggestion.values, {"used": used})

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, record: Created) -> None:
        queue, ordered = self._oracle._populate_next, self._oracle._ordered_ids
        if not self._oracle.start_order:
            ordered.insert(record.trial)
            queue.append(record.trial)
            self._queued = 1
            return
        source = None
        while self._queued - len(queue) < record.algorithm["used"]:
            source = queue.pop(0)
        ordered.insert(record.trial, source)

    def _ended(self, trial: TrialId) -> None:
        self._oracle._populate_next.append(trial)
        self._queued += 1


class _Hyperband(Suggester):
    """Its brackets; those that are complete are dropped, so they stay small."""

    def _state(self) -> dict[str, Any]:
        oracle = self._oracle
        return {
            "seed_state": oracle._seed_state,
            "brackets": copy.deepcopy(oracle._brackets),  # the oracle goes on changing its own
            "bracket": oracle._current_bracket,
            "iteration": oracle._current_iteration,
        }

    def _restore(self, record: Created) -> None:
        oracle, state = self._oracle, record.algorithm
        oracle._seed_state, oracle._brackets = state["seed_state"], copy.deepcopy(state["brackets"])
        oracle._current_bracket, oracle._current_iteration = state["bracket"], state["iteration"]
