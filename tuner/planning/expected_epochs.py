"""The number of trials and epochs that a search is expected to train, from its settings alone."""

import math
from dataclasses import dataclass

from tuner.config.settings import Algorithm, Policy, Study
from tuner.study.rungs import epochs_at

HYPERBAND_FACTOR = 3
"""Keras Tuner's default, which cannot be set."""


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

    Early stopping is assumed to let exactly one of `reduction_factor` trials continue beyond each rung.
    """
    search, epochs = study.search, study.training.epochs
    if search.algorithm is Algorithm.HYPERBAND:
        return _hyperband(epochs)
    limits = [limit for limit in (search.max_trials, combinations) if limit is not None and math.isfinite(limit)]
    trials = min(limits, default=None)
    stopping = search.early_stopping
    if stopping.policy is Policy.NONE or trials == 1:
        return ExpectedEpochs(trials, epochs)
    mean, share, rung, trained = 0.0, 1.0, 0, 0
    while trained < epochs:
        reached = min(epochs, epochs_at(stopping, rung))
        mean += share * (reached - trained)
        trained, rung, share = reached, rung + 1, share / stopping.reduction_factor
        if trials is not None:
            finalists = search.finalists if stopping.policy is Policy.PROMOTION else 1
            share = max(share, min(1, finalists / trials))  # the best trials are trained to their end
    return ExpectedEpochs(trials, mean)


def _hyperband(epochs: int) -> ExpectedEpochs:
    """Return the trials and epochs of Keras Tuner's brackets. A later round continues trials of the round before it."""
    factor = HYPERBAND_FACTOR
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
    return ExpectedEpochs(trials, trained / trials)
