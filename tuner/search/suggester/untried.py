"""Values that were not suggested before: first those of the setting search.first, then random ones.

A configuration is not suggested twice while the space has others. If random values collide with earlier ones several
times in a row, nearly all values have been tried, and one of the remaining ones is chosen among all combinations.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tuner.search.suggester.combinations import combinations
from tuner.study.records import Value

if TYPE_CHECKING:
    import keras_tuner

REJECTIONS = 200
"""Maximum number of random configurations that a constraint may reject before the search ends. A configuration takes a
tenth of a second, and if so many in a row are rejected, hardly any other satisfies the constraint."""
COMBINATIONS = 200_000
"""Maximum number of combinations that are looked at to find an untried one. That takes about a second."""
CANDIDATES = 1_000
"""Maximum number of untried combinations among which one is chosen."""


class UntriedValues:
    """Draws values for one of Keras Tuner's oracles, whose set of tried values it extends.

    Args:
        oracle: The oracle. Its `_tried_so_far` has the hashes of all values that were suggested.
        first: Complete configurations that are drawn before all others.
        is_rejected: Whether a constraint rejects a configuration; None if there is no constraint.
    """

    def __init__(
        self,
        oracle: "keras_tuner.Oracle",
        first: Sequence[Mapping[str, Value]] = (),
        is_rejected: Callable[[Mapping[str, Value]], bool] | None = None,
    ) -> None:
        self._oracle = oracle
        self._first = list(first)
        self._is_rejected = is_rejected
        self._random_values = oracle._random_values
        oracle._duplicate = self.is_tried  # Keras Tuner draws again if a configuration is a duplicate
        self._learned: set[str] = set()
        """Hashes of the configurations of earlier studies. `first` may repeat them."""
        self._outside: set[str] = set()
        """Hashes of the configurations that grid search skips although its grid has not reached them."""
        self._number = 0
        self.rejected: list[dict[str, Value]] = []
        """All rejected configurations. They are not suggested again."""
        self.rejected_now: list[dict[str, Value]] = []
        """Those that were rejected since the last suggestion."""
        self._most = REJECTIONS

    def begin(self, number: int, rejections: int = REJECTIONS) -> None:
        """Prepare for suggestion `number`, for which at most `rejections` more configurations may be rejected."""
        if number != self._number:
            self._number, self.rejected_now = number, []
        self._most = len(self.rejected_now) + rejections

    def restore(self, rejected: Iterable[dict[str, Value]]) -> None:
        """Take over the configurations that an earlier chief rejected."""
        for values in rejected:
            self._reject(values)

    def learn(self, values: Mapping[str, Value]) -> None:
        """Register the configuration of an earlier study's trial, which is not repeated."""
        self._learned.add(self._hash(values))
        self.leave_out(values)

    def leave_out(self, values: Mapping[str, Value]) -> None:
        """Register a configuration that is not part of the grid."""
        self._outside.add(self._hash(values))

    def is_outside(self, values: Mapping[str, Value]) -> bool:
        """Return whether a configuration is not part of the grid."""
        return self._hash(values) in self._outside

    def first(self) -> dict[str, Value] | None:
        """Return the next configuration of `first` that no trial of this study has; None if there are no more."""
        return next((dict(values) for values in self._first if self._hash(values) not in self._tried), None)

    @property
    def waiting(self) -> int:
        """Number of configurations of `first` that no trial of this study has."""
        return sum(self._hash(values) not in self._tried for values in self._first)

    def enqueue(self, values: Mapping[str, Value]) -> None:
        """Add a complete configuration to `first`."""
        self._first.append(values)

    def refusal(self, values: Mapping[str, Value]) -> str:
        """Return why a complete configuration cannot be enqueued, as a sentence; empty if it can be."""
        if self._hash(values) in self._tried:
            return "a trial has these hyperparameters already, or search.constraints rejects them."
        if values in self._first:
            return "these hyperparameters are enqueued already."
        is_rejected = self._is_rejected is not None and self._is_rejected(values)
        return "search.constraints rejects these hyperparameters." if is_rejected else ""

    def is_tried(self, values: Mapping[str, Value]) -> bool:
        """Return whether a trial of this or an earlier study has these values, or a constraint has rejected them."""
        key = self._hash(values)
        return key in self._tried or key in self._learned

    def is_usable(self, values: Mapping[str, Value]) -> bool:
        """Return whether the values are untried and no constraint rejects them. Remembers rejected values."""
        if self.is_tried(values):
            return False
        if self._is_rejected is None or not self._is_rejected(values):
            return True
        self._reject(dict(values))
        self.rejected_now.append(dict(values))
        return False

    @property
    def may_continue(self) -> bool:
        """Whether more configurations may be rejected before `begin` is called again."""
        return len(self.rejected_now) < self._most

    def draw(self) -> dict[str, Value] | None:
        """Return untried values that no constraint rejects; None if there are none, or if they are hardly found."""
        if (values := self.first()) is not None:
            return values
        while self.may_continue:
            drawn: dict[str, Value] | None = self._random_values()
            if drawn is None:
                return self._remaining()
            if self.is_usable(drawn):
                return drawn
        return None

    def _remaining(self) -> dict[str, Value] | None:
        """Return untried values chosen among all combinations; None if there are none."""
        random = np.random.RandomState((self._oracle.seed, self._number))
        every = islice(combinations(self._oracle.hyperparameters.space, random), COMBINATIONS)
        untried = (values for values in every if not self.is_tried(values))
        left: list[dict[str, Value]] = list(islice(untried, CANDIDATES))
        for index in random.permutation(len(left)):
            if not self.may_continue:
                break
            values: dict[str, Value] = left[int(index)]
            if self.is_usable(values):
                return values
        return None

    def _reject(self, values: dict[str, Value]) -> None:
        self.rejected.append(values)
        self._tried.add(self._hash(values))
        self.leave_out(values)

    @property
    def _tried(self) -> set[str]:
        tried: set[str] = self._oracle._tried_so_far
        return tried

    def _hash(self, values: Mapping[str, Value]) -> str:
        text: str = self._oracle._compute_values_hash(values)
        return text
