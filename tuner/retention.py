"""Which saved models are still needed: those of running trials and of the best two; the rest is deleted."""

import logging

from tuner import names
from tuner.bucket import Bucket
from tuner.config import Algorithm
from tuner.errors import BucketError
from tuner.names import TrialId
from tuner.trials import StudyState, TrialState

log = logging.getLogger(__name__)

KEPT = 2
"""The best trial's model, and the runner-up's to compare it with."""


class SavedModels:
    """Keeps the bucket from filling up with models that cannot win any more."""

    def __init__(self, bucket: Bucket, state: StudyState) -> None:
        self._bucket = bucket
        self._state = state
        self._seen_ended = 0
        self._deleted: set[TrialId] = set()

    def obsolete(self) -> list[str]:
        """Return the models of trials that have ended, were not returned before, and are not among the best."""
        state = self._state
        if len(state.ended) == self._seen_ended:
            return []
        self._seen_ended = len(state.ended)
        if state.settings.search.algorithm is Algorithm.HYPERBAND:
            return []  # a later rung may go on from any of them
        best = {trial.trial_id for trial in state.best(KEPT)}
        trials = [trial for trial in state.ended if trial not in best and trial not in self._deleted]
        self._deleted.update(trials)
        return [name for trial in trials for name in state.trials[trial].checkpoints.values()]

    def stale(self) -> list[str]:
        """Return all models in the bucket that no trial needs, for a search that is over.

        Needed are the best trials' at their best epoch, and those of trials that have not ended: of a search that
        was given up, which may be started again.
        """
        kept = {trial.checkpoint for trial in self._state.best(KEPT)}
        for trial in self._state.trials.values():
            if trial.state in (TrialState.QUEUED, TrialState.RUNNING):
                kept.update(trial.checkpoints.values())
        try:
            return [
                name for name in self._bucket.list(names.trials_prefix(self._state.settings.name)) if name not in kept
            ]
        except BucketError as error:
            log.warning("models that are no longer needed stay: %s", error)
            return []

    def delete(self, objects: list[str]) -> None:
        """Delete objects; a failure is only logged, since it costs space and nothing else."""
        for name in objects:
            try:
                self._bucket.delete(name)
            except BucketError as error:
                log.warning("a model that is no longer needed stays: %s", error)
