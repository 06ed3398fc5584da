"""The errors with which calls of workers end."""

from typing import Any, NoReturn

import grpc

from tuner.search.claims import AttemptClaim, UnknownTrialError


async def abort(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    """End a call with an error."""
    await context.abort(code, text)  # raises
    raise AssertionError


async def refuse(error: Exception, attempt: AttemptClaim, context: Any) -> NoReturn:
    """End a call about an attempt that the oracle does not accept."""
    if isinstance(error, UnknownTrialError):
        await abort(context, grpc.StatusCode.NOT_FOUND, f"there is no trial {attempt.trial!r}")
    await abort(
        context,
        grpc.StatusCode.FAILED_PRECONDITION,
        f"attempt {attempt.number} at trial {attempt.trial} by {attempt.worker.name} is not the newest. Abandon it.",
    )
