"""The part of metrics.json about the trials that were trained again with other seeds (search.confirm)."""

from pydantic import BaseModel, ConfigDict

from tuner.names import TrialId
from tuner.study.state import StudyState


class ConfirmedTrial(BaseModel):
    """A trial that was trained again, and the scores of its repetitions that were trained to the end."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    trial: TrialId
    score: float
    """Score in the search, for which the trial was chosen. It is optimistic, and does not count in the mean."""

    repetitions: int
    """Number of its repetitions, including those that failed or were stopped."""

    scores: tuple[float, ...]
    """In the order in which the repetitions were created."""

    mean: float | None
    """None if no repetition was trained to the end."""

    deviation: float | None
    """Sample standard deviation; None with fewer than two scores."""

    best_training: TrialId
    """The trial or its repetition whose saved model has the best score."""

    @property
    def lowest(self) -> float | None:
        """The smallest of the scores."""
        return min(self.scores, default=None)

    @property
    def highest(self) -> float | None:
        """The largest of the scores."""
        return max(self.scores, default=None)


def confirmed_trials(state: StudyState) -> tuple[ConfirmedTrial, ...]:
    """Return the trials that were trained again, the winner first; none without search.confirm."""
    return tuple(
        ConfirmedTrial(
            trial=candidate.original.trial_id,
            score=candidate.original.score,
            repetitions=len(candidate.repetitions),
            scores=candidate.scores,
            mean=candidate.mean,
            deviation=candidate.deviation,
            best_training=candidate.best_training.trial_id,
        )
        for candidate in state.confirmation
        if candidate.original.score is not None
    )
