"""Which saved models are still needed: those of running trials and of the best two; the rest is deleted."""

import logging
from concurrent.futures import ThreadPoolExecutor

from tuner import names
from tuner.bucket import Bucket
from tuner.config.settings import Algorithm
from tuner.errors import BucketError
from tuner.study.state import StudyState, Trial

log = logging.getLogger(__name__)

AT_ONCE = 8
"""So many objects are deleted at a time."""
KEPT = 2
"""The best trial's model, and the runner-up's to compare it with."""


class SavedModels:
    """Keeps the bucket from filling up with models that cannot win any more."""

    def __init__(self, bucket: Bucket, state: StudyState) -> None:
        self._bucket = bucket
        self._state = state
        self._best = state.best(KEPT)
        self._seen_ended = len(state.ended)

    def obsolete(self) -> list[str]:
        """Return the models that trials which ended since the last call made obsolete: their own, or others'.

        Of a trial with several attempts it is the folder, whose name ends with a slash: an attempt that was lost may
        have left models there that the journal does not know.
        """
        ended = self._state.ended[self._seen_ended :]
        self._seen_ended += len(ended)
        if self._state.settings.search.algorithm is Algorithm.HYPERBAND:
            return []  # a later rung may go on from any of them
        names_ = []
        for trial in [self._state.trials[trial_id] for trial_id in ended]:
            before = [*self._best, trial]
            self._best = self._state.best_of(before, KEPT)
            names_ += [name for lost in before if lost not in self._best for name in self._models_of(lost)]
        return names_

    def stale(self) -> list[str]:
        """Return all models in the bucket that no trial needs, for a search that is over.

        Those of trials that have ended, but the best two at their best epoch. One that has not ended is of a search
        that was given up, which may be started again; and one that is not known, of a newer chief's search.
        """
        kept = {trial.checkpoint for trial in self._state.best(KEPT)}
        ended = set(self._state.ended)
        try:
            return [
                name
                for name in self._bucket.list(names.trials_prefix(self._state.settings.name))
                if (model := names.parse_checkpoint(name)) and model.trial_id in ended and name not in kept
            ]
        except BucketError as error:
            log.warning("models that are no longer needed stay: %s", error)
            return []

    def delete(self, objects: list[str]) -> None:
        """Delete objects and folders; a failure is only logged, since it costs space and nothing else."""
        if objects:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._delete, objects))

    def _models_of(self, trial: Trial) -> list[str]:
        if trial.attempts > 1:
            return [names.trial_prefix(self._state.settings.name, trial.trial_id)]
        return list(trial.checkpoints.values())

    def _delete(self, name: str) -> None:
        try:
            for each in list(self._bucket.list(name)) if name.endswith("/") else [name]:
                self._bucket.delete(each)
        except BucketError as error:
            log.warning("a model that is no longer needed stays: %s", error)
