"""Deletes saved models that are no longer needed.

Models of running trials, of paused trials that may still be promoted, and of the best two trials are kept. With
search.confirm, these are also the models of all trials that are or may be trained again, and of their repetitions.
"""

import logging
from concurrent.futures import ThreadPoolExecutor

from tuner import names
from tuner.bucket import Bucket
from tuner.config.confirm_settings import Confirm
from tuner.config.settings import Algorithm
from tuner.errors import BucketError
from tuner.names import TrialId
from tuner.search.promotion import unpromotable
from tuner.study.state import StudyState
from tuner.study.trial import Trial

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Number of objects that are deleted concurrently."""
SPARE = 4
"""Number of the best paused trials, at each rung and in all, whose models are kept in any case."""
RARELY = 100
"""Paused trials are compared again after each hundredth of the trials has ended or was paused."""
KEPT = 2
"""Number of trials whose models are kept at least: the best trial, and the second best for comparison."""


def models_kept(confirm: Confirm) -> int:
    """Return the number of trials of a search whose models are kept."""
    return max(KEPT, confirm.best) if confirm.is_on else KEPT


class SavedModels:
    """Finds and deletes the models of trials that can no longer become the best."""

    def __init__(self, bucket: Bucket, state: StudyState) -> None:
        self._bucket = bucket
        self._state = state
        self._best = state.best_of(state.suggested, self._kept)
        self._checked = len(state.ended)
        self._unpromotable: set[TrialId] = set()
        """Paused trials whose models have been deleted."""
        self._compared = 0
        """Number of steps of the search when paused trials were compared last."""

    @property
    def _kept(self) -> int:
        return KEPT if self._state.study is None else models_kept(self._state.settings.search.confirm)

    def obsolete(self) -> list[str]:
        """Return the models that have become obsolete because trials ended or were paused since the last call.

        For a trial with several attempts, this is the trial's folder (its name ends with a slash), because a lost
        attempt may have left models there that the journal does not name.
        """
        ended = self._state.ended[self._checked :]
        self._checked += len(ended)
        if self._state.settings.search.algorithm is Algorithm.HYPERBAND:
            return []  # a later rung may continue from any model
        obsolete = self._of_unpromotable()
        for trial in [self._state.trials[trial_id] for trial_id in ended]:
            if trial.repeats is not None:
                continue  # any of them may be the one that is evaluated
            candidates = [*self._best, trial]
            self._best = self._state.best_of(candidates, self._kept)
            obsolete += [name for loser in candidates if loser not in self._best for name in self._models_of(loser)]
        return obsolete

    def _of_unpromotable(self) -> list[str]:
        """Return the models of paused trials that can no longer be promoted.

        If one of them is resumed after all, because better trials have failed, its training begins again.
        Its new attempt may begin at any time, so its folder is not returned.
        """
        steps, state = len(self._state.steps), self._state
        if steps - self._compared <= len(state.trials) // RARELY:
            return []
        self._compared = steps
        new = unpromotable(state, max(SPARE, self._kept)) - self._unpromotable
        self._unpromotable |= new
        return [name for trial_id in sorted(new) for name in state.trials[trial_id].checkpoints.values()]

    def stale(self) -> list[str]:
        """Return all models in the bucket that are not needed after the search.

        These are the models of trials that have ended, except the models of the best two trials at their best epochs.
        With search.confirm, one model is kept of every trial that was trained again, and of the next ones that would
        be, because a study that is continued may decide for another of them.

        Models of all other trials are kept. A trial that has not ended belongs to a search that gave up and may be
        started again, and a trial that is not in the state belongs to a newer chief's search.
        """
        kept = {trial.checkpoint for trial in self._state.best(self._kept)}
        kept |= {candidate.best_training.checkpoint for candidate in self._state.confirmation}
        ended = set(self._state.ended)
        try:
            return [
                name
                for name in self._bucket.list(names.trials_prefix(self._state.settings.name))
                if (model := names.parse_checkpoint(name)) and model.trial_id in ended and name not in kept
            ]
        except BucketError as error:
            log.warning("obsolete models cannot be listed, so they are not deleted: %s", error)
            return []

    def delete(self, objects: list[str]) -> None:
        """Delete objects and folders. A failure is only logged, because obsolete models only take up space."""
        if objects:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._delete, objects))

    def _models_of(self, trial: Trial) -> list[str]:
        if trial.attempts > 1:
            return [names.trial_prefix(self._state.settings.name, trial.trial_id)]
        return list(trial.checkpoints.values())

    def _delete(self, name: str) -> None:
        try:
            for object_name in list(self._bucket.list(name)) if name.endswith("/") else [name]:
                self._bucket.delete(object_name)
        except BucketError as error:
            log.warning("an obsolete model cannot be deleted: %s", error)
