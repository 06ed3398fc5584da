"""What an exception of a user's model means for its trial: the reason to record, and which other trials share it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras_tuner

from tuner.errors import SpaceError
from tuner.spaces.default_model import Expectations, check_default_model
from tuner.spaces.error_cause import advice_on, cause_of, trace_of
from tuner.study.records import FaultScope
from tuner.training.faults import SharedFaultError


@dataclass(frozen=True)
class _Checked:
    space: keras_tuner.HyperModel
    """Kept, so that no other object gets its id."""
    is_complete: bool
    """Whether the loss and the metrics of the default model were checked too."""


_checked: dict[int, _Checked] = {}
"""Spaces whose default model this process has checked without finding a fault, by id: a space may be unhashable."""


def check_once(
    space: keras_tuner.HyperModel,
    searched: keras_tuner.HyperParameters,
    expectations: Expectations,
    values: Mapping[str, Any],
) -> None:
    """Check the space's default model if this process has not checked it yet (`check_default_model`).

    Raises SharedFaultError.
    """
    if id(space) in _checked:
        return
    try:
        is_complete = check_default_model(space, searched, expectations, values)
    except SpaceError as error:
        raise SharedFaultError(str(error)) from error
    _checked[id(space)] = _Checked(space, is_complete)


def fault_scope(error: Exception, space: keras_tuner.HyperModel) -> FaultScope | None:
    """Return which trials have a fault that another attempt would only repeat; None if another attempt may succeed.

    Wrong labels or a missing package are a fault of this trial's hyperparameters if the default model was checked.
    """
    if isinstance(error, keras_tuner.errors.FatalError):
        return FaultScope.STUDY
    if isinstance(error, keras_tuner.errors.FailedTrialError):
        return FaultScope.REFUSED
    if not advice_on(error):
        return None
    checked = _checked.get(id(space))
    return FaultScope.TRIAL if checked and checked.is_complete else FaultScope.LIKELY


def reason_of(error: Exception, trace_characters: int) -> str:
    """Return the reason for an attempt's end: one line with the cause, then the end of the traceback."""
    return f"{cause_of(error)}\n{trace_of(error)[-trace_characters:]}"
