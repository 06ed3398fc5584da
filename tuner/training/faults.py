"""Errors of a training that would occur again if the trial were trained again."""

from tuner.study.records import FaultScope


class InvalidTrialError(Exception):
    """The trial would fail again in the same way. The message says why, and what to do.

    `scope` says which trials have the fault. Unless it is FaultScope.TRIAL, the chief ends the search.
    """

    def __init__(self, message: str, scope: FaultScope = FaultScope.TRIAL) -> None:
        super().__init__(message)
        self.scope = scope


class SharedFaultError(InvalidTrialError):
    """Every trial would fail in this way, so the search ends with exit code 2 unless another trial was trained."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FaultScope.SHARED)
