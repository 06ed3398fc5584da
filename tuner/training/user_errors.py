"""What an exception of a user's model means for its trial: the reason to record, and which other trials share it."""

import weakref
from collections.abc import Mapping
from typing import Any

import keras_tuner

from tuner.errors import SpaceError
from tuner.spaces.default_model import Expectations, check_default_model
from tuner.spaces.error_cause import advice_on, cause_of, trace_of
from tuner.study.records import FaultScope
from tuner.training.faults import SharedFaultError

_checked: "weakref.WeakSet[keras_tuner.HyperModel]" = weakref.WeakSet()
"""Spaces whose default model has been checked by this process."""


def check_once(
    space: keras_tuner.HyperModel,
    searched: keras_tuner.HyperParameters,
    expectations: Expectations,
    values: Mapping[str, Any],
) -> None:
    """Check the space's default model if this process has not checked it yet (`check_default_model`).

    Raises SharedFaultError.
    """
    if space in _checked:
        return
    try:
        check_default_model(space, searched, expectations, values)
    except SpaceError as error:
        raise SharedFaultError(str(error)) from error
    _checked.add(space)


def fault_scope(error: Exception) -> FaultScope | None:
    """Return which trials have a fault that another attempt would only repeat; None if another attempt may succeed."""
    if isinstance(error, keras_tuner.errors.FatalError):
        return FaultScope.STUDY
    if isinstance(error, keras_tuner.errors.FailedTrialError):
        return FaultScope.TRIAL
    return FaultScope.SHARED if advice_on(error) else None


def reason_of(error: Exception, trace_characters: int) -> str:
    """Return the reason for an attempt's end: one line with the cause, then the end of the traceback."""
    return f"{cause_of(error)}\n{trace_of(error)[-trace_characters:]}"
