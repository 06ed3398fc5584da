"""What a search algorithm knows about a trial besides its hyperparameters: its state, and its scores by fidelity.

The fidelity of a score is the number of epochs after which it was measured. Scores are comparable only if they have the
same fidelity. Therefore algorithms that fit a model to scores need those of the rungs, not only the final ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from tuner.config.settings import EarlyStopping
from tuner.names import TrialId
from tuner.study.records import Created, Opened, Record, Reported, TrialState
from tuner.study.rungs import epochs_at, rung_at
from tuner.study.state import StudyState
from tuner.study.trial import Trial

UNFINISHED = frozenset({TrialState.QUEUED, TrialState.RUNNING})
"""States of trials that a worker trains or is about to train."""


@dataclass(frozen=True)
class Observation:
    """The state of a trial, and the scores that algorithms may compare with those of other trials."""

    trial: TrialId
    state: TrialState
    rungs: Mapping[int, float] = field(default_factory=dict)
    """Best objective up to each reached rung, as it was when the trial reached the rung."""
    score: float | None = None
    """The final score; None unless the trial has ended with one."""
    epochs: int = 0
    """Number of epochs after which `score` was final. 0 unless the trial has ended with a score."""

    @property
    def is_complete(self) -> bool:
        """Whether the score is that of a trial that was trained to the end."""
        return self.state is TrialState.COMPLETED and self.score is not None and isfinite(self.score)

    @property
    def is_infeasible(self) -> bool:
        """Whether the trial failed, so that its hyperparameters should be avoided."""
        return self.state is TrialState.FAILED

    @property
    def is_unfinished(self) -> bool:
        """Whether a worker trains the trial or is about to train it."""
        return self.state in UNFINISHED

    @property
    def has_score(self) -> bool:
        """Whether any score of the trial is known."""
        return not self.is_infeasible and (bool(self.rungs) or self.score is not None)


def observation_of(trial: Trial) -> Observation:
    """Return what is known about a trial. Of a trial that has not ended, only its state and its rungs are known.

    Other epochs are not included, because a restarted chief may no longer know them: an epoch without a checkpoint is
    trained again.
    """
    if trial.ended is None:
        return Observation(trial.trial_id, trial.state, dict(trial.rungs))
    epochs = max(trial.epochs, default=trial.best_epoch or 0) + 1
    return Observation(trial.trial_id, trial.state, dict(trial.rungs), trial.score, epochs)


def observations(state: StudyState, records: Iterable[Record]) -> list[Observation]:
    """Return the observations that these records, which have been applied to `state`, have changed."""
    changed: dict[TrialId, None] = {}  # an ordered set
    for record in records:
        trial_id = getattr(record, "trial", None)
        if trial_id is None or isinstance(record, Created | Opened) or state.trials[trial_id].repeats is not None:
            continue
        if isinstance(record, Reported):
            rung = rung_at(state.settings.search.early_stopping, record.epoch + 1)
            if rung is None or rung not in state.trials[trial_id].rungs:
                continue
        changed[trial_id] = None
    return [observation_of(state.trials[trial_id]) for trial_id in changed]


@dataclass(frozen=True)
class PrunedAt:
    """The last score of a trial that was not trained to the end."""

    epochs: int
    score: float


def pruned_at(observation: Observation, settings: EarlyStopping) -> PrunedAt | None:
    """Return the score with the highest fidelity of a trial that was stopped or paused; None if it has none."""
    if observation.score is not None:
        return PrunedAt(observation.epochs, observation.score)
    if not observation.rungs:
        return None
    rung = max(observation.rungs)
    return PrunedAt(epochs_at(settings, rung), observation.rungs[rung])
