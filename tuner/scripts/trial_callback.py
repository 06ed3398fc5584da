"""The callback that takes the place of Keras Tuner's checkpoint callback: it resumes a trial and reports its epochs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from keras_tuner.src.engine.objective import Objective
from keras_tuner.src.engine.tuner import maybe_distribute

from tuner.scripts import models
from tuner.scripts.session import ScriptSearch
from tuner.training import checkpoint
from tuner.training.faults import SharedFaultError
from tuner.training.feed import Feed, FitArguments
from tuner.training.listener_callback import ListenerCallback
from tuner.training.task import Listener, Task

_UNKNOWN = Feed(
    train=None,
    validation=None,
    own_fit=FitArguments(()),
    steps=None,
    samples=None,
    begin=lambda epoch: None,
    inputs=lambda count: (),
)
"""The data of a script, which only its own code knows."""
_VALIDATION_ARGUMENTS = ("x", "y", "sample_weight", "batch_size", "steps")


class TrialCallback(ListenerCallback):
    """Calls the listener after each epoch of a trial.

    It resumes like Keras's `BackupAndRestore`: when training begins, it restores the weights and sets the first epoch,
    so that the script's code need not know about it.
    """

    def __init__(
        self,
        task: Task,
        listener: Listener,
        search: ScriptSearch,
        prepared: Callable[[keras.Model], None],
        *,
        may_be_returned: bool,
        best_file: Path | None = None,
    ) -> None:
        """Prepare for a trial.

        Args:
            task: The trial, and the checkpoint to resume from.
            listener: Called after each batch and epoch.
            search: The script's search.
            prepared: Called with the model before its first epoch.
            may_be_returned: Whether the trial may return an objective that its epochs lack.
            best_file: If the trial is several executions whose mean counts, the file in which the weights of the best
                epoch are kept; epochs are not reported then. None for a single execution.
        """
        super().__init__(task, listener, _UNKNOWN, may_be_returned or best_file is not None)
        self.validation: dict[str, Any] | None = None
        """Arguments with which `fit` evaluates the model on the validation data; None if it did not."""
        self._search = search
        self._objective: Objective = search.tuner.oracle.objective
        self._prepared = prepared
        self._best_file = best_file
        self._best: float | None = None
        self._executions = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore the checkpoint, if there is one."""
        self._executions += 1
        if self._executions > 1:
            if self._best_file is None:
                raise SharedFaultError(
                    "the Tuner trains several models in a trial, and each of them reports its epochs. Set "
                    "executions_per_trial instead, or let run_trial() train its models without the callbacks."
                )
            self._seed += 1
        with maybe_distribute(self._search.tuner.distribution_strategy):  # both may create the optimizer's variables
            self._prepared(self.model)
            if self._task.model_file is not None and self._best_file is None:
                models.load_weights(self._search, self.model, self._task.model_file)
                self.model._initial_epoch = self._task.first_epoch
        self._record_validation()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report the epoch, or keep its weights if they are the best of several executions."""
        logs = dict(logs or {})
        if self._objective.has_value(logs):
            logs[self._objective.name] = self._objective.get_value(logs)  # a sum of several objectives is in no log
        if self._best_file is None:
            super().on_epoch_end(epoch, logs)
            return
        value = logs.get(self._objective.name)
        if value is None or self._best is None or self._objective.better_than(value, self._best):
            self._best = value
            checkpoint.save_weights(self.model, self._best_file)

    def on_train_end(self, logs: Any = None) -> None:
        """Complete Keras's History if no epoch was left to train."""
        super().on_train_end(logs)
        self.model.__dict__.pop("evaluate", None)  # as `__delattr__` would, without Keras's tracking

    def _record_validation(self) -> None:
        """Let the model record how `fit` evaluates it, so that the saved model can be evaluated in the same way."""
        model, evaluate = self.model, self.model.evaluate

        def recording(*args: Any, **kwargs: Any) -> Any:
            if not args and "x" in kwargs:
                self.validation = {name: kwargs[name] for name in _VALIDATION_ARGUMENTS if name in kwargs}
            return evaluate(*args, **kwargs)

        model.__dict__["evaluate"] = recording
