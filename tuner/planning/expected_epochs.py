"""The number of trials and epochs that a search is expected to train, from its settings alone."""

import math
from dataclasses import dataclass

from tuner.config.hyperband_settings import Hyperband
from tuner.config.settings import Algorithm, EarlyStopping, Policy, Study
from tuner.study.rungs import epochs_at, kept_of

MANY = 10_000
"""Number of trials from which on the share that continues beyond a rung hardly depends on it."""


@dataclass(frozen=True)
class ExpectedEpochs:
    """What a search trains if no other budget ends it."""

    trials: float | None
    """Number of trials; None if it is not limited."""
    per_trial: float
    """Mean number of epochs of a trial."""

    @property
    def total(self) -> float | None:
        """Number of epochs; None if the number of trials is not limited."""
        return None if self.trials is None else self.trials * self.per_trial


def expected_epochs(study: Study, combinations: float) -> ExpectedEpochs:
    """Return what a search trains. `combinations` is the number of configurations of the space, which may be infinite.

    All orders in which trials of different quality reach a rung are assumed to be equally probable.
    """
    search, epochs = study.search, study.training.epochs
    if search.algorithm is Algorithm.HYPERBAND:
        return _hyperband(epochs, search.hyperband)
    limits = [limit for limit in (search.max_trials, combinations) if limit is not None and math.isfinite(limit)]
    trials = min(limits, default=None)
    stopping = search.early_stopping
    if stopping.policy is Policy.NONE or trials == 1:
        return ExpectedEpochs(trials, epochs)
    going = began = MANY if trials is None else trials
    total, rung, trained = 0.0, 0, 0
    while trained < epochs:
        reached = min(epochs, epochs_at(stopping, rung))
        total += going * (reached - trained)
        finalists = search.finalists if stopping.policy is Policy.PROMOTION else 1
        going = max(_continuing(stopping, rung, going), min(finalists, began))  # the best are trained to their end
        trained, rung = reached, rung + 1
    return ExpectedEpochs(trials, total / began)


def _continuing(stopping: EarlyStopping, rung: int, reached: float) -> float:
    """Return how many of the trials that reach a rung continue beyond it.

    The policy `stopping` compares each of them with those before it, so more than one of `reduction_factor` continue.
    """
    if stopping.policy is Policy.PROMOTION:
        return reached / stopping.reduction_factor

    def chance(place: int) -> float:
        return min(1.0, (kept_of(stopping, rung, place) or place) / place)

    compared = min(math.floor(reached), MANY)
    return sum(map(chance, range(1, compared + 1))) + (reached - compared) * chance(compared + 1)


def _hyperband(epochs: int, settings: Hyperband) -> ExpectedEpochs:
    """Return the trials and epochs of Keras Tuner's brackets. A later round continues trials of the round before it."""
    factor = settings.factor
    brackets = 0
    remaining = float(epochs)
    while remaining >= 1:
        remaining, brackets = remaining / factor, brackets + 1
    end_size = math.ceil(1 + math.log(epochs, factor))
    trials = trained = 0
    for bracket in range(brackets):
        before = 0
        for round_number in range(bracket + 1):
            size = math.ceil(end_size / (bracket + 1) * factor ** (bracket - round_number))
            length = math.ceil(epochs / factor ** (bracket - round_number))
            trials += size
            trained += size * (length - before)
            before = length
    return ExpectedEpochs(trials * settings.iterations, trained / trials)
