"""Grid search: every combination of values once, in order."""

from typing import TYPE_CHECKING, Any

from tuner.names import TrialId
from tuner.search.suggester.base import CONTINUES, UNRESTRICTED, NoSuggestion, Restrictions, Suggester, Suggestion
from tuner.study.records import Value

if TYPE_CHECKING:
    import keras_tuner


class _UnfinishedError(Exception):
    """Leaves Keras Tuner's oracle while all combinations so far have been rejected."""


class Grid(Suggester):
    """Grid search. Its state is the number of trials that it has taken from its queue of trials to continue from.

    The configurations of search.first are suggested before the grid begins, and are not part of it. The grid skips
    them, as well as those that earlier studies have tried or a constraint rejects.

    A grid changes its first hyperparameter last. If one of its values makes every model too large, any number of
    combinations may be rejected in a row, so the search does not end then. Each call looks at a few of them.
    """

    rejections = 20

    def __init__(
        self, oracle: "keras_tuner.Oracle", max_trials: int | None, restrictions: Restrictions = UNRESTRICTED
    ) -> None:
        super().__init__(oracle, max_trials, restrictions)
        self._queued = 0
        self._outside: set[TrialId] = set()
        """Trials with the configurations of search.first."""
        self._defaults: dict[str, Value] | None = None
        """The first combination, while it is rejected and no trial has another one."""
        self._positions: dict[str, dict[str, Value]] = {}
        """The last combination that was looked at, by the one after which the search for a usable one began."""
        self._next_combination = oracle._get_next_combination
        oracle._get_next_combination = self._next_usable

    def suggest(self) -> Suggestion | NoSuggestion:
        """Return the next suggestion; see `Suggester.suggest`."""
        outside, first = len(self._outside), not self._oracle.start_order and not self._oracle._populate_next
        suggestion = super().suggest()
        if len(self._outside) > outside:
            return suggestion
        self._queued += 1 if first else 0  # the first trial is queued immediately
        return suggestion if isinstance(suggestion, NoSuggestion) else self._with_position(suggestion)

    def _with_position(self, suggestion: Suggestion) -> Suggestion:
        used = self._queued - len(self._oracle._populate_next)
        return Suggestion(suggestion.trial, suggestion.values, {"used": used, **suggestion.algorithm})

    def _populate(self, trial: TrialId, number: int) -> dict[str, Any]:
        if (first := self._untried.first()) is not None:
            self._outside.add(trial)
            return {"status": "RUNNING", "values": first}
        queue = list(self._oracle._populate_next)
        try:
            return self._populate_grid(trial, number)
        except _UnfinishedError:
            if self._defaults is None:
                self._oracle._populate_next[:] = queue
            return {"status": CONTINUES}

    def _populate_grid(self, trial: TrialId, number: int) -> dict[str, Any]:
        if self._defaults is None:
            begins = not self._oracle.start_order
            response = super()._populate(trial, number)
            values = response["values"]
            if not begins or values is None or self._untried.is_usable(values):
                return response
            self._defaults = values
        # the grid begins with the defaults; this trial has the first combination that can be used instead
        values = self._next_usable(self._defaults)
        self._defaults = None
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}

    def _next_usable(self, values: dict[str, Value]) -> dict[str, Value] | None:
        """Return the first combination after `values` that can be used.

        A combination that an earlier trial of the grid has is returned too, and Keras Tuner skips it.

        Raises _UnfinishedError if it has rejected as many combinations as it may. The next call with the same values
        continues there.
        """
        start = repr(sorted(values.items()))
        following = self._positions.pop(start, None) or self._next_combination(values)
        while following is not None and self._is_skipped(following):
            if not self._untried.may_continue:
                self._positions[start] = following
                raise _UnfinishedError
            following = self._next_combination(following)
        return following

    def _is_skipped(self, values: dict[str, Value]) -> bool:
        return self._untried.is_outside(values) or not (
            self._untried.is_tried(values) or self._untried.is_usable(values)
        )

    def _register(self, trial: TrialId, values: dict[str, Value]) -> dict[str, Value]:
        registered = super()._register(trial, values)
        if trial in self._outside:
            self._oracle.start_order.remove(trial)
            self._untried.leave_out(registered)
        return registered

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, trial: TrialId, algorithm: dict[str, Any]) -> None:
        if "used" not in algorithm:
            self._outside.add(trial)
            return
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
        if trial in self._outside:
            return
        self._oracle._populate_next.append(trial)
        self._queued += 1
