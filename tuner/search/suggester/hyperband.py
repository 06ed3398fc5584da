"""Hyperband (Li et al. 2018, https://jmlr.org/papers/v18/16-558.html), with Keras Tuner's brackets."""

import copy
from collections.abc import Mapping
from math import inf
from typing import Any

from tuner.errors import SpaceError
from tuner.names import TrialId
from tuner.search.suggester.base import Suggester
from tuner.study.records import TrialState, Value


class Hyperband(Suggester):
    """Hyperband. Its state is its brackets. Complete brackets are removed, so the state stays small."""

    def completed(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the configuration as the base class does. Raises SpaceError also if no bracket has a place for it."""
        completed = super().completed(values)
        if self._places() <= self._untried.waiting:
            raise SpaceError(
                "Hyperband starts no more configurations: the first rounds of its brackets have no free place left. "
                "To start more brackets, set search.hyperband.iterations to a larger number."
            )
        return completed

    def ended(
        self, trial_id: TrialId, state: TrialState, score: float | None, best_epoch: int | None, by_user: bool = False
    ) -> None:
        """Register the end of a trial. One that a user has stopped gets the last place in its round."""
        super().ended(trial_id, state, score, best_epoch, by_user)
        if by_user:
            self._oracle.trials[trial_id].score = -inf if self._oracle.objective.direction == "max" else inf

    def _places(self) -> float:
        """Return the number of configurations that the first rounds of current and future brackets can still take."""
        oracle = self._oracle
        open_now: int = sum(
            oracle._get_size(bracket["bracket_num"], 0) - len(bracket["rounds"][0]) for bracket in oracle._brackets
        )
        iteration = sum(oracle._get_size(number, 0) for number in range(oracle._get_num_brackets()))
        iterations_to_come = oracle.hyperband_iterations - oracle._current_iteration - 1
        later: int = sum(oracle._get_size(number, 0) for number in range(oracle._current_bracket))
        places: float = open_now + later + iterations_to_come * iteration
        return places

    def _state(self) -> dict[str, Any]:
        oracle = self._oracle
        return {
            "seed_state": oracle._seed_state,
            "brackets": copy.deepcopy(oracle._brackets),  # the oracle changes its own brackets later
            "bracket": oracle._current_bracket,
            "iteration": oracle._current_iteration,
        }

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        oracle = self._oracle
        oracle._seed_state, oracle._brackets = algorithm["seed_state"], copy.deepcopy(algorithm["brackets"])
        oracle._current_bracket, oracle._current_iteration = algorithm["bracket"], algorithm["iteration"]
