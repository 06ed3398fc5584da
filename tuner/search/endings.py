"""The records with which attempts, trials and the search end. These functions read the state and do not change it."""

from itertools import islice
from typing import Literal

from tuner.names import TrialId
from tuner.search.leases import Lease
from tuner.search.retry_budget import retry_budget
from tuner.study.ending import BudgetEnding
from tuner.study.records import AttemptEnded, Ended, FaultScope, Finished, Outcome, Paused, TrialState, Withdrawn
from tuner.study.state import StudyState
from tuner.study.trial import Trial


def scored_end(
    state: StudyState, lease: Lease, end: Literal[TrialState.COMPLETED, TrialState.STOPPED], reason: str, at: float
) -> Ended:
    """Return the end of a leased trial with the score of its best epoch."""
    trial = state.trials[lease.trial]
    best = trial.best_epoch
    return Ended(
        at=at,
        trial=lease.trial,
        attempt=lease.attempt,
        state=end,
        score=None if best is None else trial.epochs[best][state.settings.search.objective],
        best_epoch=best,
        reason=reason,
    )


def pause(state: StudyState, lease: Lease, reason: str, at: float) -> Paused:
    """Return the pause of a leased trial, with the score of its best epoch so far."""
    trial = state.trials[lease.trial]
    best = trial.best_epoch
    score = None if best is None else trial.epochs[best][state.settings.search.objective]
    return Paused(at=at, trial=lease.trial, attempt=lease.attempt, score=score, best_epoch=best, reason=reason)


def stopped_at_end(trial: Trial, reason: str, at: float, budget: str = "") -> Ended:
    """Return the end of a paused trial at the end of the search.

    `reason` says why it has not been promoted. `budget` is the key of the budget that prevented it, if any.
    """
    return Ended(
        at=at,
        trial=trial.trial_id,
        attempt=trial.attempts,
        state=TrialState.STOPPED,
        score=trial.score,
        best_epoch=trial.best_epoch,
        reason=reason,
        budget=budget,
    )


def withdrawn(state: StudyState, trial: Trial, ending: BudgetEnding, at: float) -> Withdrawn:
    """Return the end of a trial that waits with a score. Raises ValueError if it has none."""
    if (best := trial.best_epoch) is None:
        raise ValueError(f"trial {trial.trial_id} has no score")
    return Withdrawn(
        at=at,
        trial=trial.trial_id,
        score=trial.epochs[best][state.objective.name],
        best_epoch=best,
        reason=ending.sentence,
        budget=ending.budget,
    )


def environment_end(lease: Lease, failing_s: float, reason: str, at: float) -> AttemptEnded:
    """Return the end of an attempt by a failure of bucket, disk or network, which had lasted `failing_s` seconds."""
    return AttemptEnded(
        at=at, trial=lease.trial, attempt=lease.attempt, outcome=Outcome.LOST, failing_s=failing_s, reason=reason
    )


def unfinished_end(
    state: StudyState, lease: Lease, outcome: Outcome, reason: str, at: float, *, refused: bool = False
) -> Ended | AttemptEnded:
    """Return the end of an attempt that did not finish its trial, or of its trial if the retry budget is used up."""
    budget = retry_budget(state.trials[lease.trial], outcome, state.settings.retries)
    if budget.spent < budget.limit:
        return AttemptEnded(at=at, trial=lease.trial, attempt=lease.attempt, outcome=outcome, reason=reason)
    return Ended(
        at=at,
        trial=lease.trial,
        attempt=lease.attempt,
        state=TrialState.FAILED,
        outcome=outcome,
        refused=refused,
        reason=budget.explained(reason, lease.attempt),
    )


def requested_end(lease: Lease, at: float) -> AttemptEnded:
    """Return the end of an attempt whose worker hands its trial back because a user has paused the search."""
    reason = "the search is paused"
    return AttemptEnded(
        at=at, trial=lease.trial, attempt=lease.attempt, outcome=Outcome.PREEMPTED, reason=reason, requested=True
    )


def concerns_all(state: StudyState, scope: FaultScope, trial_id: TrialId) -> bool:
    """Return whether a fault of this trial is one of every trial."""
    others = [trial for trial in state.trials.values() if trial.trial_id != trial_id]
    trained = any(trial.epochs for trial in others)
    match scope:
        case FaultScope.STUDY:
            return True
        case FaultScope.SHARED:
            return not trained
        case FaultScope.LIKELY:  # a running trial will show whether it has the fault too
            return not trained and all(trial.state is not TrialState.RUNNING for trial in others)
        case _:
            return False


def killed_reason(lease: Lease) -> str:
    """Return why an attempt ended whose worker was killed because of its memory."""
    return (
        f"worker {lease.worker.name} was killed because its pod exceeded its memory limit (OOMKilled); raise "
        "workers.resources.limits.memory, or train smaller models or batches"
    )


def given_up(state: StudyState, at: float) -> Finished | None:
    """Return the end of a search that gives up after too many consecutive failures; None if it continues."""
    limit = state.settings.search.max_consecutive_failures
    # only trials of this term count, because a user may have fixed the cause before starting the search again
    newest_first = range(len(state.ended) - 1, state.ended_before_term - 1, -1)
    ended = (state.trials[state.ended[index]] for index in newest_first)
    last = list(islice((trial for trial in ended if trial.repeats is None), limit))
    if len(last) < limit or any(trial.state is not TrialState.FAILED for trial in last):
        return None
    reason = f"{limit} consecutive trials failed; the first failure: {last[-1].reason}"
    return Finished(at=at, reason=reason, failed=True)
