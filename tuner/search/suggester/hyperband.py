"""Hyperband (Li et al. 2018, https://jmlr.org/papers/v18/16-558.html), with Keras Tuner's brackets."""

import copy
from typing import Any

from tuner.names import TrialId
from tuner.search.suggester.base import Suggester


class Hyperband(Suggester):
    """Hyperband. Its state is its brackets. Complete brackets are removed, so the state stays small."""

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
