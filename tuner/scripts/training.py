"""Trains a trial with a script's own Tuner: its `run_trial`, its data, its callbacks and its arguments of `fit`."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from keras_tuner.src.engine import tuner_utils
from keras_tuner.src.engine.hypermodel import HyperModel
from keras_tuner.src.engine.objective import DefaultObjective
from keras_tuner.src.engine.trial import Trial
from keras_tuner.src.engine.tuner import Tuner, maybe_distribute
from keras_tuner.src.tuners.hyperband import Hyperband

from tuner import names
from tuner.scripts.entry_points import set_for_now
from tuner.scripts.models import without_parent
from tuner.scripts.session import ScriptSearch
from tuner.scripts.settings import epochs_of, positional_epochs
from tuner.scripts.trial_callback import TrialCallback
from tuner.spaces.error_cause import cause_of
from tuner.spaces.own_methods import has_own_fit
from tuner.temporary_files import temporary_folder
from tuner.training import checkpoint
from tuner.training.activities import Activities, Activity
from tuner.training.faults import SharedFaultError
from tuner.training.fit_result import floats
from tuner.training.listener_callback import WITHOUT_EPOCHS, FromScratchError, report_result
from tuner.training.loop import warn_about_unknown
from tuner.training.task import Listener, Task

log = logging.getLogger(__name__)


class ScriptTrainer:
    """Trains the trials of a script's search."""

    def __init__(self, search: ScriptSearch) -> None:
        self.search = search
        self.callback: TrialCallback | None = None
        """The callback of the current trial."""
        tuner = search.tuner
        methods = (type(tuner).run_trial, type(tuner)._build_and_fit_model)
        own = {Tuner.run_trial, Hyperband.run_trial, Tuner._build_and_fit_model}
        self._is_plain = own.issuperset(methods) and not has_own_fit(tuner.hypermodel)
        """Whether a trial is a call of `model.fit`, whose History is the result."""

    def train(
        self, task: Task, listener: Listener, activities: Activities, prepared: Callable[[keras.Model], None]
    ) -> None:
        """Build the trial's model and train it as the Tuner does.

        A trial of several executions (`executions_per_trial`), or whose own training loop calls no callbacks, is
        reported as a whole when it has ended, and starts again after an interruption.

        Args:
            task: Hyperparameters, seed, and the checkpoint to resume from.
            listener: Called after each batch and epoch.
            activities: Counts the time of training.
            prepared: Called with the model before its first epoch. An exception ends training.

        Raises:
            InvalidTrialError: The trial would fail again in the same way.
            Exception: Any exception of the listener or of the script.
        """
        try:
            self._train(task, listener, activities, prepared)
        except FromScratchError as reason:
            log.warning("the script's training %s, so the trial starts again from epoch 0", reason)
            self._train(task.resumed(0, None, {}), listener, activities, prepared)

    def save(self, model: keras.Model, file: Path) -> None:
        """Write the weights only, because the script builds its models again."""
        checkpoint.save_weights(model, file)

    def is_done(self, task: Task) -> bool:
        """Return whether no epoch is left, unless the script's own code may return something afterwards."""
        return task.is_trained and self._is_plain

    def _train(
        self, task: Task, listener: Listener, activities: Activities, prepared: Callable[[keras.Model], None]
    ) -> None:
        tuner, objective = self.search.tuner, self.search.tuner.oracle.objective
        keras.utils.set_random_seed(task.seed)
        hyperparameters = without_parent(task.hyperparameters)
        if names.HP_INITIAL_EPOCH in hyperparameters.values:
            hyperparameters.values[names.HP_INITIAL_EPOCH] = task.first_epoch
        known = set(hyperparameters.values)
        trial = Trial(hyperparameters=hyperparameters, trial_id=task.trial_id, status="RUNNING")
        tuner.oracle.trials[trial.trial_id] = trial  # run_trial() may report its metrics with oracle.update_trial()
        args, kwargs = self._fit_arguments(task)
        with temporary_folder() as folder, _newest_model(tuner.hypermodel) as built:
            best_file = Path(folder) / "best.keras" if tuner.executions_per_trial > 1 else None
            may_be_returned = not self._is_plain or isinstance(objective, DefaultObjective)
            callback = self.search.callback = self.callback = TrialCallback(
                task, listener, self.search, prepared, may_be_returned=may_be_returned, best_file=best_file
            )
            tuner.on_trial_begin(trial)
            try:
                with activities.during(Activity.TRAIN):
                    results = tuner.run_trial(trial, *args, **kwargs)
            except WITHOUT_EPOCHS as error:
                if not task.is_trained:
                    raise
                raise FromScratchError(f"fails if no epoch is left to train ({cause_of(error)})") from error
            warn_about_unknown(hyperparameters, known)
            model = callback.model or (built[-1] if built else None)
            if model is None:
                raise SharedFaultError(
                    "run_trial() trains no model of the Tuner's hypermodel, so there is no model to save. Build the "
                    "model with self.hypermodel.build(trial.hyperparameters)."
                )
            if results is None and trial.metrics.exists(objective.name):
                results = {name: trial.metrics.get_best_value(name) for name in trial.metrics.metrics}
            tuner_utils.validate_trial_results(results, objective, "Tuner.run_trial()")
            if best_file is not None:
                self._report_executions(results, model, best_file, task, listener)
            else:
                report_result(self._result(results), callback, task, listener, model)
            tuner.on_trial_end(trial)

    def _result(self, results: Any) -> Any:
        """Return a History, or a dict of metrics for everything else that `run_trial` may return."""
        single = results[0] if isinstance(results, list) and len(results) == 1 else results
        if isinstance(single, keras.callbacks.History):
            return single
        return tuner_utils.convert_to_metrics_dict(single, self.search.tuner.oracle.objective)

    def _report_executions(
        self, results: Any, model: keras.Model, best_file: Path, task: Task, listener: Listener
    ) -> None:
        """Report the mean of all executions, with the model of the best epoch, as Keras Tuner does."""
        metrics = floats(tuner_utils.convert_to_metrics_dict(results, self.search.tuner.oracle.objective))
        if best_file.exists():
            with maybe_distribute(self.search.tuner.distribution_strategy):
                checkpoint.load_weights(model, best_file)
        listener.epoch_done(task.epochs - 1, metrics, model, True, named=True)

    def _fit_arguments(self, task: Task) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the script's arguments of `search()`, with the number of epochs if a setting overrides it."""
        args, kwargs = list(self.search.args), dict(self.search.kwargs)
        if task.epochs != epochs_of(self.search):
            position = positional_epochs(self.search)
            if position is None or "epochs" in kwargs:
                kwargs["epochs"] = task.epochs
            else:
                args[position] = task.epochs
        return tuple(args), kwargs


@contextmanager
def _newest_model(hypermodel: HyperModel) -> Iterator[list[keras.Model]]:
    """Yield a list that always contains the newest model of the hypermodel, for training loops without callbacks."""
    built: list[keras.Model] = []
    build = hypermodel.build

    def recording(*args: Any, **kwargs: Any) -> Any:
        built[:] = [model := build(*args, **kwargs)]
        return model

    with set_for_now(hypermodel, "build", recording):
        yield built
