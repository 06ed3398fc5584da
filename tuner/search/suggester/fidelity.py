"""Scores of a single fidelity, to which a model of the scores can be fitted.

As in BOHB (Falkner et al. 2018, https://arxiv.org/abs/1807.01774), the model is fitted to the scores of the highest
rung that enough trials have reached. Scores of different rungs are not mixed, because a trial that was stopped after an
epoch would look worse than a trial that was trained to the end, whatever its hyperparameters.
"""

from collections.abc import Sequence

from tuner.search.suggester.observation import Observation

Level = float
"""A fidelity: the number of a rung, or TRAINED."""

TRAINED: Level = float("inf")
"""The fidelity of trials that were trained to the end."""


def fidelity(observations: Sequence[Observation], enough: int) -> Level | None:
    """Return the highest fidelity with which at least `enough` trials have a score.

    If there is none, return the fidelity that most trials have; None if no trial has a score.
    """
    levels: set[Level] = {rung for observation in observations for rung in observation.rungs}
    counts = {
        level: sum(score_at(observation, level) is not None for observation in observations)
        for level in levels | {TRAINED}
    }
    candidates = [level for level, count in counts.items() if count >= enough]
    if candidates:
        return max(candidates)
    best = max(counts, key=lambda level: (counts[level], level))
    return best if counts[best] else None


def score_at(observation: Observation, level: Level) -> float | None:
    """Return the score that a trial had at a fidelity; None if it did not reach it.

    A trial that was complete before it reached a rung (training.patience) has its final score there.
    """
    if observation.is_infeasible:
        return None
    if level in observation.rungs:
        return observation.rungs[int(level)]
    return observation.score if observation.is_complete else None
