"""Trials as messages of Keras Tuner's protocol.

Keras Tuner would describe the whole space again in every message, which takes 0.4 ms. Here, the description is made
once and copied.
"""

from typing import Any, Literal

from keras_tuner.engine.hyperparameters import HyperParameters
from keras_tuner.src import protos
from keras_tuner.src.engine.metrics_tracking import MetricsTracker

from tuner import names
from tuner.names import AttemptId
from tuner.study.objective import Objective
from tuner.study.records import TrialState, Value
from tuner.study.trial import Trial

_proto = protos.get_proto()
_service = protos.get_service()

Status = Literal["RUNNING", "IDLE", "STOPPED"]

_STATUS = {
    TrialState.QUEUED: _proto.TrialStatus.INVALID,
    TrialState.PAUSED: _proto.TrialStatus.IDLE,
    TrialState.RUNNING: _proto.TrialStatus.RUNNING,
    TrialState.COMPLETED: _proto.TrialStatus.COMPLETED,
    TrialState.STOPPED: _proto.TrialStatus.COMPLETED,  # in Keras Tuner a STOPPED trial has no score
    TrialState.FAILED: _proto.TrialStatus.FAILED,
}


def bare_trial(status: Status, trial_id: str = "") -> Any:
    """Return a trial message with only an id and a status."""
    return _proto.Trial(trial_id=trial_id, status=_proto.TrialStatus.Value(status))


def start_metadata(trial: Trial, parent: Trial | None) -> tuple[tuple[str, str], ...]:
    """Return metadata with the number of a trial's attempt, its first epoch and, if it resumes, its checkpoint.

    `parent` is the trial whose training this one continues, if any (Hyperband).
    """
    checkpoint, sha256, epoch = None, None, 0
    if trial.last_epoch is not None:
        checkpoint, sha256 = trial.checkpoints[trial.last_epoch], trial.sha256.get(trial.last_epoch)
        epoch = trial.last_epoch + 1
    elif parent and parent.best_epoch is not None:  # Hyperband continues the best trials of a rung
        checkpoint, sha256 = parent.checkpoint, parent.sha256.get(parent.best_epoch)
        epoch = int(trial.hyperparameters[names.HP_INITIAL_EPOCH])
    start = {names.METADATA_ATTEMPT: str(trial.attempts), names.METADATA_EPOCH: str(epoch if checkpoint else 0)}
    optional = {names.METADATA_CHECKPOINT: checkpoint, names.METADATA_SHA256: sha256}
    return (*start.items(), *((key, value) for key, value in optional.items() if value))


class Messages:
    """Builds messages about the trials of one space."""

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
        """Return a trial with its metrics.

        Args:
            trial: The trial.
            status: Status of the message. Default: the status that matches the trial's state.
            parent: The trial that the hyperparameters name as HP_PARENT.
        """
        message = _proto.Trial(trial_id=_id_of(trial), hyperparameters=self._space)
        message.status = _proto.TrialStatus.Value(status) if status else _STATUS[trial.state]
        values = message.hyperparameters.values.values
        for name, value in trial.hyperparameters.items():
            setattr(values[name], _field(value), value)
        if parent is not None:
            values[names.HP_PARENT].string_value = _id_of(parent)
        if trial.score is not None:
            message.score.value, message.score.step = trial.score, trial.best_epoch or 0
        if trial.epochs:
            message.metrics.CopyFrom(self._metrics(trial))
        return message

    def _metrics(self, trial: Trial) -> Any:
        tracker = MetricsTracker()
        for epoch, metrics in trial.epochs.items():
            for name, value in metrics.items():
                if not tracker.exists(name):
                    # the direction of other metrics is not used, and Keras Tuner's guess fails for some (mean_io_u)
                    tracker.register(name, self._objective.direction if name == self._objective.name else "min")
                tracker.update(name, value, step=epoch)
        return tracker.to_proto()


def _id_of(trial: Trial) -> str:
    """Return the trial's id as its worker knows it. Keras Tuner's own workers find their saved models by this id."""
    stock = trial.worker and not trial.incarnation
    return str(AttemptId(trial.trial_id, trial.attempts)) if stock else trial.trial_id


def _field(value: Value) -> str:
    if isinstance(value, bool):  # before int, since bool is a subclass
        return "boolean_value"
    return {int: "int_value", float: "float_value", str: "string_value"}[type(value)]
