"""Requests as objects of the bucket: a command creates them, and the chief handles each of them once.

The chief records a request in the journal before it deletes the object. So a chief that is killed in between does not
handle the request again, and a request that no chief has read yet is not lost.
"""

import secrets
import time
from collections.abc import Mapping, Sequence

from pydantic import Field, ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.config.formats import Versioned
from tuner.errors import NewerFormatError, UsageError
from tuner.names import TrialId
from tuner.study.records import Action, Value


class Request(Versioned):
    """What a user requests. `id` is unique, and sorts requests by the time at which they were made."""

    id: str = Field(default_factory=lambda: names.request_id(time.time_ns(), secrets.token_hex(4)))
    action: Action
    trials: tuple[TrialId, ...] = ()
    """The trials to stop. The action STOP without trials ends the search."""
    hyperparameters: dict[str, Value] = Field(default_factory=dict)
    """The values to try, as the user wrote them. All other hyperparameters have their defaults."""


def submit(bucket: Bucket, study: str, request: Request) -> None:
    """Write a request for the chief of a study. Raises BucketError."""
    bucket.create(names.control_request(study, request.id), request.model_dump_json().encode())


def pending(bucket: Bucket, study: str) -> list[str]:
    """Return the names of the requests that the chief has not deleted, the oldest first. Raises BucketError."""
    return list(bucket.list(names.control_prefix(study)))


def read(bucket: Bucket, name: str) -> Request:
    """Return a request. Raises UsageError if it is none, ObjectNotFoundError and BucketError."""
    try:
        request = Request.model_validate_json(bucket.read(name))
    except ValidationError:
        raise UsageError(f"{name} is not a valid request, so it is ignored.") from None
    except NewerFormatError as error:
        raise UsageError(f"{name}: the request {error}") from None
    if names.parse_control_request(name) != request.id:
        raise UsageError(f"{name} contains the request {request.id!r:.60}, so it is ignored.")
    return request


def description(action: Action, trials: Sequence[TrialId], hyperparameters: Mapping[str, Value]) -> str:
    """Return what a request asks for, such as `stop trial 00003`."""
    match action:
        case Action.ENQUEUE:
            return "enqueue " + " ".join(f"{name}={value}" for name, value in hyperparameters.items())
        case Action.STOP if trials:
            return f"stop trial{'s' if len(trials) > 1 else ''} {', '.join(trials)}"
        case _:
            return f"{action} the search"
