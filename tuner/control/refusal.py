"""Which requests the state of a study does not allow. The command checks them early, and the chief decides."""

import difflib
from collections.abc import Collection

from tuner.control.request import Request
from tuner.errors import UsageError
from tuner.names import TrialId
from tuner.study.records import Action, TrialState, Value
from tuner.study.state import StudyState
from tuner.study.trial import SCORED


def refusal(state: StudyState, request: Request) -> str:
    """Return why the study's state does not allow a request, as a sentence; empty if it does.

    Only the chief knows the space, so it checks the values of hyperparameters.
    """
    if state.finished is not None:
        return f"the search of study {state.settings.name!r} has finished."
    if request.action is Action.ENQUEUE:
        return _of_enqueue(state)
    problem = next((problem for trial in request.trials if (problem := _of_stop(state, trial))), "")
    return f"{problem} No trial was stopped." if problem and len(request.trials) > 1 else problem


def _of_stop(state: StudyState, trial_id: TrialId) -> str:
    trial = state.trials.get(trial_id)
    if trial is None:
        return f"there is no trial {trial_id!r:.60}. {_nearest(trial_id, state.trials)}"
    if trial.state in {*SCORED, TrialState.FAILED}:
        return f"trial {trial_id} has ended already: it is {trial.state}."
    if trial.state is TrialState.QUEUED and trial.best_epoch is None:
        return f"trial {trial_id} waits for a worker and has no score to end with. Stop it during its first epoch."
    return ""


def full_id(state: StudyState, text: str) -> TrialId:
    """Return the id of a trial, which may be given without its leading zeros. An unknown id is returned unchanged.

    Raises UsageError if the text is empty, like an unset shell variable.
    """
    if not text.strip():
        raise UsageError("the id of the trial to stop is empty. Write an id, such as 3, or none to stop the search.")
    same = (trial_id for trial_id in state.trials if trial_id.lstrip("0") == text.lstrip("0"))
    return next(same, TrialId(text))


def _nearest(trial_id: str, trials: Collection[TrialId]) -> str:
    nearest = difflib.get_close_matches(trial_id, trials, n=1, cutoff=0.5)
    return f"Did you mean {nearest[0]}?" if nearest else "List the trials with cifake-tune trials."


def _of_enqueue(state: StudyState) -> str:
    if state.ending is not None:
        return f"the search starts no more trials, because it is being {state.ending.sentence}."
    most, waiting = state.max_trials, len(waiting_points(state))
    if most is not None and state.suggested_count + waiting >= most:
        trials = f"{state.suggested_count} trials and {waiting} enqueued ones"
        return f"search.max_trials is {most}, and there are {trials}. Start the study again with a larger limit first."
    return ""


def waiting_points(state: StudyState) -> list[dict[str, Value]]:
    """Return the enqueued configurations that no trial has yet."""
    tried = [trial.chosen for trial in state.trials.values()]
    return [values for values in state.control.enqueued if values not in tried]
