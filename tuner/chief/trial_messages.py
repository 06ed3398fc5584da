"""Trials as Keras Tuner's protocol carries them.

Keras Tuner makes each message from its objects, describing the whole space anew (0.4 ms); here the space is
described once, and copied.
"""

from typing import Any, Literal

from keras_tuner.engine.hyperparameters import HyperParameters
from keras_tuner.src import protos
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuner import names
from tuner.names import AttemptId
from tuner.study.objective import Objective
from tuner.study.records import TrialState, Value
from tuner.study.state import Trial

_proto = protos.get_proto()
_service = protos.get_service()

Status = Literal["RUNNING", "IDLE", "STOPPED"]

_STATUS = {
    TrialState.QUEUED: _proto.TrialStatus.INVALID,
    TrialState.RUNNING: _proto.TrialStatus.RUNNING,
    TrialState.COMPLETED: _proto.TrialStatus.COMPLETED,
    TrialState.STOPPED: _proto.TrialStatus.COMPLETED,  # Keras Tuner knows no STOPPED trial that has a score
    TrialState.FAILED: _proto.TrialStatus.FAILED,
}


def bare_trial(status: Status, trial_id: str = "") -> Any:
    """Return a message that only its status matters of."""
    return _proto.Trial(trial_id=trial_id, status=_proto.TrialStatus.Value(status))


class Messages:
    """Messages about trials of one space, compared by one objective."""

    def __init__(self, space: HyperParameters, objective: Objective) -> None:
        blank = space.copy()
        blank.values = {}
        self._space = blank.to_proto()
        self._default = space.to_proto()
        self._objective = objective

    def space(self) -> Any:
        """Return the space, with its default values."""
        return _service.GetSpaceResponse(hyperparameters=self._default)

    def trial(self, trial: Trial, status: Status | None = None, parent: Trial | None = None) -> Any:
        """Return a trial with its metrics; the status is that of its state, if none is given.

        `parent` is the trial that its values name as HP_PARENT.
        """
        made = _proto.Trial(trial_id=_known_as(trial), hyperparameters=self._space)
        made.status = _proto.TrialStatus.Value(status) if status else _STATUS[trial.state]
        values = made.hyperparameters.values.values
        for name, value in trial.hyperparameters.items():
            setattr(values[name], _kind(value), value)
        if parent is not None:
            values[names.HP_PARENT].string_value = _known_as(parent)
        if trial.score is not None:
            made.score.value, made.score.step = trial.score, trial.best_epoch or 0
        if trial.epochs:
            made.metrics.CopyFrom(self._metrics(trial))
        return made

    def _metrics(self, trial: Trial) -> Any:
        tracker = MetricsTracker()
        for epoch, metrics in trial.epochs.items():
            for name, value in metrics.items():
                if not tracker.exists(name):
                    # nobody compares by the others; Keras Tuner's guess fails for some (mean_io_u)
                    tracker.register(name, self._objective.direction if name == self._objective.name else "min")
                tracker.update(name, value, step=epoch)
        return tracker.to_proto()


def _known_as(trial: Trial) -> str:
    """Return the id by which the trial's worker knows it: Keras Tuner's own find their saved models by it."""
    stock = trial.worker and not trial.incarnation
    return str(AttemptId(trial.trial_id, trial.attempts)) if stock else trial.trial_id


def _kind(value: Value) -> str:
    if isinstance(value, bool):  # which is an int, too
        return "boolean_value"
    return {int: "int_value", float: "float_value", str: "string_value"}[type(value)]
