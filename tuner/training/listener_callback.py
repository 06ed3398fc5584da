"""Calls a trial's listener after each batch and epoch, and reports what a user's own `fit` returned."""

import math
import time
from collections.abc import Mapping
from typing import Any

import keras

from tuner.training.faults import InvalidTrialError, SharedFaultError
from tuner.training.feed import Feed
from tuner.training.fit_result import floats, histories, returned_metrics
from tuner.training.seeding import seed_epoch
from tuner.training.task import Listener, Task

PROGRESS_S = 0.5
"""Seconds between two calls of `Listener.progress`."""
WITHOUT_EPOCHS = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a user's own training loop may raise if no epoch is left to train, because it assigns no variables then."""


class FromScratchError(Exception):
    """A user's `fit` cannot resume, for the reason in the message."""


def report_result(
    result: Any, callback: "ListenerCallback", task: Task, listener: Listener, model: keras.Model
) -> None:
    """Report what a space's own `fit` returned, unless it adds nothing to the epochs that the callback has reported."""
    objective, last = task.objective.name, callback.last_metrics
    epoch = task.epochs - 1 if callback.last_epoch is None else callback.last_epoch
    if callback.reported and (result is None or isinstance(result, keras.callbacks.History)):
        return
    if isinstance(result, keras.callbacks.History):  # `fit` did not pass the callbacks on
        for metrics in (candidates := histories(result, task.objective)):
            require_objective(objective, metrics, "the History that fit() returned has")
            try:
                listener.epoch_done(epoch, metrics, model)
            except InvalidTrialError:
                if metrics is candidates[-1]:
                    raise
            else:
                return
    if result is None and last:
        require_objective(objective, last, "the model reports")
    returned = returned_metrics(result, task.objective, task.objective_is_set)
    if callback.reported and returned.get(objective) in (None, callback.best_objective()):
        return
    require_objective(objective, returned, "fit() returned")
    listener.epoch_done(epoch, {**last, **returned}, model, True, named=isinstance(result, Mapping))


def require_objective(objective: str, metrics: Mapping[str, float], which: str) -> None:
    """Raise SharedFaultError if the metrics lack the objective. `which` says which metrics they are, as a clause."""
    if objective not in metrics:
        raise SharedFaultError(
            f"search.objective is {objective!r}, and {which} {', '.join(sorted(metrics))}. Choose one of these."
        )


class ListenerCallback(keras.callbacks.Callback):
    """Calls the listener. Ends training if the loss is not finite or patience runs out."""

    def __init__(self, task: Task, listener: Listener, feed: Feed, may_be_returned: bool) -> None:
        super().__init__()
        self.reported = bool(task.history)
        """Whether the listener got an epoch, also in another process."""
        self.last_epoch: int | None = max(task.history, default=None)
        self.last_metrics = {} if self.last_epoch is None else dict(task.history[self.last_epoch])
        """Metrics of the last epoch, which lack the objective if only `fit` returns it."""
        self._may_be_returned = may_be_returned
        self._task = task
        self._seed = task.seed
        self._listener = listener
        self._feed = feed
        self._objectives = task.objectives
        self._begun = False
        """Whether the first epoch of this process has begun."""
        self._lacks_epochs = bool(task.history)
        """Whether Keras's History lacks the epochs of other processes."""
        self._epoch: int | None = None
        self._began = 0.0
        self._progress_at = 0.0

    def set_params(self, params: dict[str, Any]) -> None:
        """Let Keras print a line per epoch, unless `fit` chose otherwise. A progress bar would fill the log."""
        if params.get("verbose") == "auto":
            params["verbose"] = 2  # Keras calls its own ProgbarLogger with the same dict after this callback
        super().set_params(params)

    def best_objective(self) -> float | None:
        """Return the best objective of the reported epochs; None if none is finite."""
        best = self._task.objective.best(self._objectives)
        return None if best is None else self._objectives[best]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Seed the epoch, and report its begin."""
        self._check_first(epoch)
        self._complete_history()
        self._epoch = epoch
        self._feed.begin(epoch)
        seed_epoch(self.model, self._seed, epoch)
        self._began = self._progress_at = time.perf_counter()
        self._listener.progress(epoch, 0.0, 0.0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Let the listener end training, and report the progress."""
        self._listener.check()
        now = time.perf_counter()
        if now - self._progress_at < PROGRESS_S:
            return
        self._progress_at = now
        steps = (self.params or {}).get("steps") or self._feed.steps
        share = min((batch + 1) / steps, 1.0) if steps else 0.0
        samples_per_s = share * (self._feed.samples or 0) / max(now - self._began, 1e-9)
        self._listener.progress(self._epoch or 0, share, samples_per_s)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Let the listener end training."""
        self._listener.check()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report the epoch. Raises InvalidTrialError if its loss is not finite, or if it lacks the objective."""
        self._check_first(epoch)  # a user's own training loop may call nothing else
        metrics = floats(logs or {})
        loss = metrics.get("loss", 0.0)
        if not math.isfinite(loss):
            raise InvalidTrialError(f"the loss became {loss} in epoch {epoch + 1}")
        objective = self._task.objective.name
        self.last_epoch, self.last_metrics = epoch, metrics
        if objective not in metrics and self._may_be_returned:
            return
        require_objective(objective, metrics, "the model reports")
        self.reported = True
        self._objectives[epoch] = metrics[objective]
        self._listener.epoch_done(epoch, metrics, self.model)
        if self._task.out_of_patience(self._objectives):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Complete Keras's History if no epoch was left to train."""
        self._complete_history()

    def _check_first(self, epoch: int) -> None:
        if not self._begun and epoch < self._task.first_epoch:
            raise FromScratchError("ignores initial_epoch")
        self._begun = True

    def _complete_history(self) -> None:
        """Add the epochs of other processes to Keras's History, from which `fit` may compute what it returns."""
        history = getattr(self.model, "history", None) if self._lacks_epochs else None
        if not isinstance(history, keras.callbacks.History):
            return
        self._lacks_epochs = False
        history.epoch = sorted(self._task.history)
        before = [self._task.history[epoch] for epoch in history.epoch]
        in_all = [name for name in before[-1] if all(name in metrics for metrics in before)]
        history.history = {name: [metrics[name] for metrics in before] for name in in_all}
