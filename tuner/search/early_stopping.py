"""Early stopping by asynchronous successive halving (ASHA): its rungs, and who goes on beyond one.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht, Talwalkar: A System for Massively Parallel Hyperparameter
Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934.

Rung k is at `min_epochs * reduction_factor**k` epochs. A trial that reaches one is compared, at once, with all
that have reached it so far, and goes on where it is among the best `1/reduction_factor` of them, rounded down.
What is compared is the best objective up to the rung, not the one at it: the best epoch is what scores a trial
and whose model is kept, and one bad epoch of a noisy optimizer should not end it.

- Of the first trials at a rung, fewer than `reduction_factor`, all go on at the lowest rung, where scores are noisy,
  and at later ones whichever is the best so far. The paper would hold them back instead.
- The first `reduction_factor` trials at a rung are compared there again after each epoch until the next one, since they
  had nobody to be compared with. Such a trial is stopped only where one that was better at the rung still is.
- A trial as good as the last of the best goes on: nothing says which of the two is better.
- A trial that failed is compared with no longer: it cannot win, so it must not hold others back.
- A trial whose objective was never a number up to the rung has nothing to compare; it goes on, uncounted.

What this does not do: it does not pause trials to go on with them later, as the paper's algorithm does ("promotion").
Its stopping variant needs no paused models and frees the worker for good; the price is that a trial stopped among
few early ones is not taken up again, though later ones may be worse. It has the paper's most eager bracket only, it
does not wait for a rung to fill (that is what "asynchronous" means), and it knows no costs but epochs.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass

from tuner.config.settings import EarlyStopping
from tuner.study.objective import Objective
from tuner.study.rungs import epochs_at, kept_of


@dataclass(frozen=True)
class Stop:
    """Why a trial does not go on: it is not among the best `kept` of `reached`."""

    rung: int
    epochs: int
    value: float
    kept: int
    reached: int

    def sentence(self, objective: str) -> str:
        """Return it as `trials` shows it."""
        best = "the best" if self.kept == 1 else f"among the best {self.kept}"
        return f"rung {self.rung} (epoch {self.epochs}): {objective} {self.value:.4f} is not {best} of {self.reached}"


class Rungs:
    """With which values trials have reached each rung, kept in order: a decision takes O(log trials) comparisons."""

    def __init__(self, settings: EarlyStopping, objective: Objective) -> None:
        self._settings = settings
        self._sort_key = objective.sort_key
        self._reached: defaultdict[int, list[float]] = defaultdict(list)

    def add(self, rung: int, value: float) -> None:
        """Count a trial that has reached a rung."""
        insort(self._reached[rung], self._sort_key(value))

    def remove(self, rung: int, value: float) -> None:
        """Count it no longer; the value is that with which it was added."""
        reached = self._reached[rung]
        del reached[bisect_left(reached, self._sort_key(value))]

    def judge(self, rung: int, value: float) -> Stop | None:
        """Decide on a trial that is counted at this rung: None where it goes on."""
        reached = self._reached[rung]
        better = bisect_left(reached, self._sort_key(value))
        kept = kept_of(self._settings, rung, len(reached))
        if kept == 0 or better < kept:
            return None
        return Stop(rung, epochs_at(self._settings, rung), value, kept, len(reached))
