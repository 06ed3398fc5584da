"""The best trials of a search, trained again with other seeds (search.confirm), and which of them wins.

The hyperparameters with the best mean score of their repetitions win. The original score of the trial is left out of
the mean. It was the best of many, and therefore is too good on average (the winner's curse), by more for
hyperparameters whose scores vary more. Repetitions are chosen before their scores are
known, so their mean is not biased.

A repetition counts if it was trained as long as the settings permit. Hyperparameters without such a repetition cannot
win, unless none has one; then the scores of the search decide, as without search.confirm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Protocol

from tuner.names import TrialId
from tuner.study.objective import Objective
from tuner.study.records import TrialState
from tuner.study.trial import SCORED, Trial

if TYPE_CHECKING:
    from tuner.study.state import StudyState

MAX_MINUTES = "training.max_minutes"
"""The budget of a single trial, which limits all repetitions alike."""


@dataclass(frozen=True)
class Candidate:
    """A trial of the search that is trained again, with its repetitions."""

    original: Trial
    repetitions: tuple[Trial, ...]
    """In the order in which they were created."""
    scores: tuple[float, ...]
    """Scores of the repetitions that count."""
    best_training: Trial
    """The training, original or repetition, whose saved model has the best score. Its model is evaluated if the
    candidate wins."""

    @property
    def mean(self) -> float | None:
        """Mean score of the repetitions that count; None if there are none."""
        return fmean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of these scores; None if there are fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None


def candidates(
    trials: Mapping[TrialId, Trial], repetitions: Sequence[TrialId], objective: Objective
) -> list[Candidate]:
    """Return the trials that are trained again, the best mean first.

    Candidates with equal means, and those without a mean, which come last, are sorted by the score of the search.

    Args:
        trials: All trials of the study.
        repetitions: Those that repeat another trial, in the order in which they were created.
        objective: The objective of the search.
    """
    of: dict[TrialId, list[Trial]] = {}
    for trial_id in repetitions:
        repetition = trials[trial_id]
        if repetition.repeats is not None:
            of.setdefault(repetition.repeats, []).append(repetition)
    found = [_candidate(trials[original], trainings, objective) for original, trainings in of.items()]
    return sorted(found, key=lambda candidate: _place(candidate, objective))


def counts_in_mean(repetition: Trial) -> bool:
    """Return whether a repetition was trained as long as the settings permit, and has a score."""
    is_whole = repetition.state is TrialState.COMPLETED or repetition.budget == MAX_MINUTES
    return is_whole and repetition.score is not None


def _candidate(original: Trial, repetitions: list[Trial], objective: Objective) -> Candidate:
    scores = tuple(trial.score for trial in repetitions if counts_in_mean(trial) and trial.score is not None)
    scored = [trial for trial in repetitions if trial.state in SCORED and trial.score is not None]

    def place(trial: Trial) -> tuple[bool, float, TrialId]:
        return trial.checkpoint is None, _key(trial.score, objective), trial.trial_id

    return Candidate(original, tuple(repetitions), scores, min([original, *scored], key=place))


def _place(candidate: Candidate, objective: Objective) -> tuple[bool, float, float, TrialId]:
    original = candidate.original
    return (
        not candidate.scores,
        _key(candidate.mean, objective),
        _key(original.score, objective),
        original.trial_id,
    )


def _key(score: float | None, objective: Objective) -> float:
    return inf if score is None else objective.sort_key(score)


def confirmation_line(state: "StudyState") -> str:
    """Return how many repetitions have ended, and which trial is ahead with which mean; empty if there are none."""
    if not state.repetitions:
        return ""
    ended = sum(state.trials[trial_id].ended is not None for trial_id in state.repetitions)
    line, first = f"{ended} of {len(state.repetitions)} repetitions have ended", state.confirmation[0]
    if first.mean is None:
        return line
    return f"{line}; trial {first.original.trial_id} has the best mean, {mean_text(first)}"


class Spread(Protocol):
    """The scores of a candidate's repetitions that count; `Candidate` and `tuner.evaluation.confirmed` have them."""

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores."""

    @property
    def mean(self) -> float | None:
        """Their mean."""

    @property
    def deviation(self) -> float | None:
        """Their sample standard deviation."""


def mean_text(candidate: Spread) -> str:
    """Return the mean score of a candidate, with its standard deviation and the number of scores."""
    if candidate.mean is None:
        return ""
    spread = "" if candidate.deviation is None else f" ± {candidate.deviation:.4f}"
    return f"{candidate.mean:.4f}{spread} ({len(candidate.scores)})"
