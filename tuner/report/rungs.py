"""The rungs of early stopping or hyperband: how many trials reached each rung, and how good they were."""

from dataclasses import dataclass
from statistics import median

from tuner import names
from tuner.config.settings import Algorithm
from tuner.study.rungs import at_rungs, epochs_at
from tuner.study.state import StudyState
from tuner.study.trial import Trial


@dataclass(frozen=True)
class Rung:
    """One rung."""

    name: str
    epochs: int
    reached: int
    stopped: int
    """Number of trials that ended at the rung because others were better."""

    best: float | None
    middle: float | None
    """Median of the objective."""


def rungs_of(state: StudyState) -> list[Rung]:
    """Return the rungs in ascending order; none if the study has no early stopping."""
    study = state.settings
    if study.search.algorithm is Algorithm.HYPERBAND:
        return _hyperbands(state)
    if not study.search.early_stopping.has_rungs:
        return []
    return [
        _rung(state, str(number), epochs_at(study.search.early_stopping, number), at.values, len(at.stopped))
        for number, at in at_rungs(state.suggested).items()
    ]


def _hyperbands(state: StudyState) -> list[Rung]:
    groups: dict[tuple[int, int, int], list[Trial]] = {}
    for trial in state.suggested:
        values = trial.hyperparameters
        if names.HP_BRACKET in values and names.HP_ROUND in values:
            key = -int(values[names.HP_BRACKET]), int(values[names.HP_ROUND]), int(values[names.HP_EPOCHS])
            groups.setdefault(key, []).append(trial)
    rungs = []
    for (bracket, round_, epochs), trials in sorted(groups.items()):
        continued = _continued(groups, bracket, round_)
        scores = [trial.score for trial in trials if trial.score is not None]
        name = f"bracket {-bracket}, round {round_}"
        rungs.append(_rung(state, name, epochs, scores, len(trials) - continued, reached=len(trials)))
    return rungs


def _continued(groups: dict[tuple[int, int, int], list[Trial]], bracket: int, round_: int) -> int:
    """Return how many trials of a bracket's round continued in the next one. All of the last round's count."""
    following = [trials for (b, r, _), trials in groups.items() if (b, r) == (bracket, round_ + 1)]
    current = [trials for (b, r, _), trials in groups.items() if (b, r) == (bracket, round_)]
    return len(following[0]) if following else sum(map(len, current))


def _rung(
    state: StudyState, name: str, epochs: int, values: list[float], stopped: int, reached: int | None = None
) -> Rung:
    best = min(values, key=state.objective.sort_key, default=None)
    count = len(values) if reached is None else reached
    return Rung(name, epochs, count, stopped, best, median(values) if values else None)
