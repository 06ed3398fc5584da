"""The message about the end of a study, which is sent once for each end."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import Versioned
from tuner.errors import (
    BucketError,
    CifakeTuneError,
    FencedError,
    NewerFormatError,
    NoResultError,
    ObjectExistsError,
    PreemptedError,
    UsageError,
)
from tuner.notification.webhook import post
from tuner.study.progress import end_of_search
from tuner.study.records import Value, first_line
from tuner.study.state import StudyState
from tuner.study.status import EvaluationSummary

log = logging.getLogger(__name__)


class EndState(StrEnum):
    """How a study has ended."""

    FINISHED = "finished"
    GAVE_UP = "gave_up"  # after too many failed trials, or because of a fault that every trial shares
    NO_RESULT = "no_result"  # no trial has both a score and a saved model
    EVALUATION_FAILED = "evaluation_failed"


class StudyEnd(Versioned):
    """The message."""

    text: str
    """The end in one sentence, for services that show only a text."""
    study: str
    state: EndState
    reason: str
    bucket: str
    """URL of the bucket."""
    trials: int
    """Number of trials that have ended."""
    objective: str
    best_trial: str | None
    best_score: float | None
    best_hyperparameters: dict[str, Value] | None
    evaluation: EvaluationSummary | None
    """The result of the evaluation; None if it failed, or if the sender does not evaluate."""


@contextmanager
def announced_end(
    bucket: Bucket, state: Callable[[], StudyState], webhook: str | None, evaluates: bool
) -> Iterator[None]:
    """Announce the end of the study when the block has ended, also if the study has no result or its evaluation failed.

    A process that is stopped or replaced announces nothing, because its successor does. `state` returns the state of
    the study then, and `evaluates` is whether the block includes the evaluation.
    """
    try:
        yield
    except (PreemptedError, FencedError):
        raise
    except CifakeTuneError as error:
        if webhook is not None and (evaluates or isinstance(error, NoResultError | UsageError)):
            _announce_failure(bucket, state, webhook, evaluates, error)
        raise
    if webhook is not None:
        announce_end(bucket, state(), webhook, evaluates)


def _announce_failure(
    bucket: Bucket, state: Callable[[], StudyState], webhook: str, evaluates: bool, failure: CifakeTuneError
) -> None:
    """Announce an end without a result. Only log it if the state cannot be read, so that `failure` is shown."""
    try:
        current = state()
    except CifakeTuneError as error:
        log.warning("the end of the study is not reported to notify.webhook: %s", error)
        return
    announce_end(bucket, current, webhook, evaluates, str(failure))


def announce_end(bucket: Bucket, state: StudyState, webhook: str, evaluated: bool, problem: str = "") -> None:
    """Post how a study has ended, unless that was done before. Do nothing if it has not ended.

    It takes ten seconds at most. A failure is logged, and a later call tries again.

    Args:
        bucket: Bucket of the study.
        state: State of the study.
        webhook: URL of the webhook.
        evaluated: Whether the study's evaluation is in the bucket.
        problem: Why the study has no result, if the search has finished without one.
    """
    if state.finished is None:
        return
    message = _message(bucket, state, evaluated, problem)
    note = _Note(bucket, names.notification(state.settings.name, state.term, message.state))
    try:
        note.create()  # first, so that two processes do not send the same message
    except ObjectExistsError:
        return
    except BucketError as error:
        log.warning("the end of the study is not reported to notify.webhook: %s", error)
        return
    try:
        post(webhook, message.model_dump_json().encode(), when_delivered=note.keep)
    finally:  # also if the process is stopped meanwhile
        note.remove_unless_delivered()


class _Note:
    """The note in the bucket that an end is announced. It is removed if the message is not delivered in time.

    The delivery may succeed later, in its own thread. The note is written again then.
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name
        self._content = json.dumps({"at": time.time(), "writer": secrets.token_hex(8)}).encode()
        self._lock = threading.Lock()
        self._is_delivered = False

    def create(self) -> None:
        """Create the note. Raises ObjectExistsError and BucketError."""
        self._bucket.create(self._name, self._content)

    def keep(self) -> None:
        """Write the note for good, because the message was delivered."""
        with self._lock:
            self._is_delivered = True
            try:
                self._bucket.write(self._name, self._content)
            except BucketError as error:
                log.warning("it cannot be noted that the end of the study was reported: %s", error)

    def remove_unless_delivered(self) -> None:
        """Remove the note if the message was not delivered, so that a later process sends it again."""
        with self._lock:
            if self._is_delivered:
                return
            try:
                self._bucket.delete(self._name)
            except BucketError as error:
                log.warning("the end of the study is not reported again later: %s", error)


def _message(bucket: Bucket, state: StudyState, evaluated: bool, problem: str) -> StudyEnd:
    how, best, name = _end_state(state, problem), state.best(), state.settings.name
    reason = first_line(problem) if problem and how is not EndState.GAVE_UP else end_of_search(state)
    about = f", best {state.objective.name} {best[0].score:.4f} (trial {best[0].trial_id})" if best else ""
    return StudyEnd(
        text=f"study {name}: {how.replace('_', ' ')}{about}; {reason}",
        study=name,
        state=how,
        reason=reason,
        bucket=bucket.url,
        trials=len(state.ended),
        objective=state.objective.name,
        best_trial=best[0].trial_id if best else None,
        best_score=best[0].score if best else None,
        best_hyperparameters=best[0].chosen if best else None,
        evaluation=_evaluation(bucket, name) if evaluated and how is EndState.FINISHED else None,
    )


def _end_state(state: StudyState, problem: str) -> EndState:
    if state.finished is not None and state.finished.failed:
        return EndState.GAVE_UP
    if not state.best():
        return EndState.NO_RESULT
    return EndState.EVALUATION_FAILED if problem else EndState.FINISHED


def _evaluation(bucket: Bucket, study: str) -> EvaluationSummary | None:
    try:
        return EvaluationSummary.model_validate_json(bucket.read(names.evaluation(study, names.METRICS_JSON)))
    except (BucketError, ValidationError, NewerFormatError) as error:
        log.warning("the message to notify.webhook lacks the evaluation (%s)", type(error).__name__)
        return None
