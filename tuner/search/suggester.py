"""Suggestions: Keras Tuner's search algorithms, with a state that can be saved and continued exactly.

Of Keras Tuner's oracles only `populate_space` is used: their own bookkeeping cannot be saved (the grid's
position, the Gaussian process's random state), and knows neither leases nor early stopping. So each suggestion
carries, as `algorithm`, what its algorithm needs to go on after it; a restarted chief gives the study's state to
`restore`, and gets the same suggestions as one that never stopped.

What a suggestion depends on, besides seed and space: for random search, on the suggestions before it; for a grid, also
on the order in which trials ended; for Bayesian search and Hyperband, also on the results that are in when it is made.
A trial that was stopped early is one that ended, with its score.
"""

import copy
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
    """Values for one trial, and what the algorithm needs to go on after it."""

    trial: TrialId
    values: dict[str, Value]
    algorithm: dict[str, Any]


class NoSuggestion(Enum):
    """Why there is none."""

    WAIT = auto()  # it depends on trials that still run
    EXHAUSTED = auto()  # there will be none: all trials are made, or the space has no more


def objective_of(search: Search) -> Objective:
    """Return the search's objective. Raises ConfigError if neither the user nor Keras Tuner knows its direction."""
    from keras_tuner.engine.metrics_tracking import infer_metric_direction

    try:
        direction = infer_metric_direction(search.objective) if search.direction == "auto" else search.direction
    except TypeError:  # it tries to make the metric, and some need arguments (mean_io_u)
        direction = None
    if direction is None:
        raise ConfigError(f"search.direction: set it to max or min; Keras Tuner does not know {search.objective!r}.")
    return Objective(search.objective, "max" if direction == "max" else "min")


def make_suggester(study: Study, space: "keras_tuner.HyperParameters", objective: Objective) -> "Suggester":
    """Return the suggester of the study's algorithm over the hyperparameters of `space`."""
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
    """Random search, and what all algorithms share. Not thread-safe, and a suggestion may take seconds."""

    slow = False
    """Whether a suggestion is worth beginning before it is asked for: it takes more than a few milliseconds."""

    def __init__(self, oracle: "keras_tuner.Oracle", max_trials: int | None) -> None:
        self._oracle = oracle
        self._oracle.verbose = 0
        self._max_trials = max_trials

    def suggest(self) -> Suggestion | NoSuggestion:
        """Return the next suggestion; it is taken note of, and runs until `ended`."""
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

    def restore(self, state: StudyState) -> None:
        """Go on where the suggester of an earlier chief stopped; for a new suggester, before its first suggestion."""
        for trial_id in state.steps:
            trial = state.trials[trial_id]
            if trial_id in self._oracle.trials:
                self.ended(trial_id, trial.state, trial.score, trial.best_epoch)
            else:
                self._restore(trial_id, trial.algorithm)
                self._register(trial_id, self._completed(trial.hyperparameters))

    def ended(self, trial_id: TrialId, state: TrialState, score: float | None, best_epoch: int | None) -> None:
        """Take note of a trial's end."""
        trial = self._oracle.trials[trial_id]
        # Keras Tuner knows no STOPPED trial that has a score
        trial.status = "FAILED" if state is TrialState.FAILED else "COMPLETED"
        trial.score, trial.best_step = score, best_epoch or 0
        self._oracle.ongoing_trials.pop(trial_id, None)
        self._oracle.end_order.append(trial_id)
        self._ended(trial_id)

    def _completed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Add the defaults of hyperparameters that were not known to be in the space when the trial was made."""
        hyperparameters = copy.copy(self._oracle.hyperparameters)
        hyperparameters.values = dict(values)
        activate(hyperparameters)
        return {**hyperparameters.values, **values}

    def _register(self, trial: TrialId, values: dict[str, Value]) -> dict[str, Value]:
        from keras_tuner.engine.trial import Trial

        # the space's description is shared: thousands of trials would each have a copy of it
        hyperparameters = copy.copy(self._oracle.hyperparameters)
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

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        """Called before the suggestion that had `algorithm` is registered."""
        self._oracle._seed_state = algorithm["seed_state"]

    def _ended(self, trial: TrialId) -> None:
        """Called after a trial ended."""


class _Bayesian(Suggester):
    """Gaussian process: all that a suggestion depends on is made from the trials and its number.

    A suggestion takes 0.2 s of a core on average, and some take seconds (8 hyperparameters, 25 to 120 trials). It is
    begun when a trial ends, with that trial's result, and so is often ready when its worker asks. It is not made one
    result ahead, which would spare workers these seconds too: trials take minutes, and each would be chosen without
    the newest result.
    """

    slow = True

    def suggest(self) -> Suggestion | NoSuggestion:
        # thousands of tiny products: with two threads they take 4 times the processor time of one, and a sum that
        # depends on the machine's cores is another suggestion after a restart elsewhere
        with threadpool_limits(1, "blas"):
            return super().suggest()

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
    """Its brackets; those that are complete are dropped, so they stay small."""

    def _state(self) -> dict[str, Any]:
        oracle = self._oracle
        return {
            "seed_state": oracle._seed_state,
            "brackets": copy.deepcopy(oracle._brackets),  # the oracle goes on changing its own
            "bracket": oracle._current_bracket,
            "iteration": oracle._current_iteration,
        }

    def _restore(self, trial: TrialId, state: dict[str, Any]) -> None:
        oracle = self._oracle
        oracle._seed_state, oracle._brackets = state["seed_state"], copy.deepcopy(state["brackets"])
        oracle._current_bracket, oracle._current_iteration = state["bracket"], state["iteration"]
