"""The base of the algorithms that fit a model to the scores of earlier trials."""

from functools import cache
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

from tuner.names import TrialId
from tuner.search.suggester.base import NoSuggestion, Restrictions, Suggester, Suggestion
from tuner.study.records import Value

if TYPE_CHECKING:
    import keras_tuner

INITIAL_POINTS = "initial_points"
"""Key of a suggestion's `algorithm` state."""


class ModelBased(Suggester):
    """Random search until enough trials have a score, and then a model of these scores.

    The number of random trials is that with which the study began, although its default depends on search.max_trials,
    which may grow.

    Args:
        oracle: Keras Tuner's oracle, which draws the random trials.
        max_trials: Maximum number of trials; None if there is none.
        initial_points: Number of trials with a score from which on the model is used.
        restrictions: Which configurations may be suggested.
    """

    slow = True

    def __init__(
        self, oracle: "keras_tuner.Oracle", max_trials: int | None, initial_points: int, restrictions: Restrictions
    ) -> None:
        super().__init__(oracle, max_trials, restrictions)
        self._initial_points = initial_points

    def suggest(self) -> Suggestion | NoSuggestion:
        """Return the next suggestion; see `Suggester.suggest`."""
        # With two threads, thousands of tiny products would take 4 times the CPU time. Rounding would also depend on
        # the number of cores, so the suggestion would differ after a restart on another machine.
        with _thread_pools().limit(limits=1, user_api="blas"):
            return super().suggest()

    def _populate(self, trial: TrialId, number: int) -> dict[str, Any]:
        values = self._untried.first()
        if values is None and self._has_enough_points():
            values = self._suggested(number)
        if values is None:  # also if the model finds only configurations that were tried
            values = self._untried.draw()
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}

    def _has_enough_points(self) -> bool:
        count = sum(point.observation.has_score for point in self._learned)
        count += sum(observation.has_score for observation in self._observed.values())
        return count >= max(1, self._initial_points)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), INITIAL_POINTS: self._initial_points}

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        super()._restore(trial, algorithm)
        self._initial_points = algorithm.get(INITIAL_POINTS, self._initial_points)

    # overridden by the algorithms

    def _suggested(self, number: int) -> dict[str, Value] | None:
        """Return the model's suggestion `number`, which must be usable; None if the model finds none."""
        raise NotImplementedError


@cache
def _thread_pools() -> ThreadpoolController:
    """Find the thread pools of all loaded libraries, which takes 10 ms.

    Keras Tuner's oracles, of which each suggester has one, have loaded all libraries that fit a model.
    """
    return ThreadpoolController()
