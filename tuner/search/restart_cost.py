"""Whether a pause would cost more time than the epochs that remain until a trial's next rung.

A pause costs what it takes to start the trial again: to build and compile its model and to load its checkpoint. The
worker measures that at every start, from the lease to the end of the first training step.
"""

from tuner.search.capacity import epoch_s
from tuner.study.progress import epochs_of
from tuner.study.rungs import epochs_at
from tuner.study.state import StudyState
from tuner.study.trial import Trial


def is_nearly_there(state: StudyState, trial: Trial) -> bool:
    """Return whether a running trial needs less time to its next rung, or its last epoch, than a restart costs.

    False if no start of the trial was measured, as with workers of earlier versions.
    """
    trained, whole = max(trial.epochs) + 1, epochs_of(state, trial)
    if trained >= whole:
        return True
    seconds = epoch_s(trial)
    if trial.start_s is None or seconds is None or trial.start_s >= sum(trial.work.epochs.values()):
        return False  # a start that took longer than all epochs with it was measured wrongly
    following = epochs_at(state.settings.search.early_stopping, max(trial.rungs, default=-1) + 1)
    return (min(following, whole) - trained) * seconds < trial.start_s
