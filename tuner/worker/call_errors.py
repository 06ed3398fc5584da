"""What an error of a call to the chief means for the worker."""

import grpc

from tuner.errors import EnvironmentFailure, IncompatibleVersionError, NewerFormatError
from tuner.rpc import lease_service

TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # the chief is at its limit of calls
    grpc.StatusCode.UNKNOWN,  # the journal failed during the call, so the chief ends and is restarted
)
"""Errors after which a call is repeated."""


class FencedAttemptError(Exception):
    """The attempt is no longer the trial's newest and must be dropped."""


class SearchOverError(FencedAttemptError):
    """The chief has ended, and its journal says that the search has finished."""


class UnexpectedAnswerError(EnvironmentFailure):
    """The chief answered a call with an unexpected error."""


class ReportRefusedError(Exception):
    """The chief refuses a report. The message says why."""


def incompatible_version(
    error: grpc.RpcError | NewerFormatError | IncompatibleVersionError, address: str
) -> IncompatibleVersionError | None:
    """Return the error because of which the worker cannot work for the chief at an address; None if it is another."""
    if isinstance(error, IncompatibleVersionError):
        return IncompatibleVersionError(f"this worker does not work for the chief at {address}: {error}")
    if isinstance(error, NewerFormatError):
        return IncompatibleVersionError(f"the answer of the chief at {address} {error}")
    if lease_service.is_version_refusal(error):
        return IncompatibleVersionError(f"the chief at {address} refuses this worker: {error.details()}")
    return None


def raise_unless_transient(error: grpc.RpcError, address: str) -> None:
    """Raise FencedAttemptError, ReportRefusedError or UnexpectedAnswerError, unless the call should be repeated."""
    code = error.code()
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        raise FencedAttemptError from None
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        raise ReportRefusedError(error.details()) from None
    if code not in TRANSIENT:
        raise UnexpectedAnswerError(
            f"the chief at {address} answered {code}: {error.details()}. See the chief's log."
        ) from None


def cause(error: grpc.RpcError) -> str:
    """Return the part of gRPC's error that says why the chief cannot be reached."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "a call was not answered in time"
    details = " ".join((error.details() or "").split()).rpartition("Failed to connect to remote host: ")[2]
    return details or str(error.code().name)
