"""A study and its results, read from Python: `from cifake_tune import open_study`.

Keras is imported only by the methods that return something of Keras or Keras Tuner, and gRPC never.
"""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from tuner import names
from tuner.api.curve import Curve, curve_of
from tuner.bucket import Bucket, open_bucket
from tuner.errors import NoResultError, UsageError
from tuner.study.flat_rows import epoch_rows, trial_rows
from tuner.study.journal import JournalReader, find_study, no_study
from tuner.study.state import StudyState
from tuner.study.trial import Trial
from tuner.study.views import StudyView, TrialView, view_study, view_trial

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import pandas

    from tuner.evaluation.own_result import AnyMetrics

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Importing = Callable[[], AbstractContextManager[None]]
"""Returns a context in which this program's packages can be imported. See `cifake_tune.py`."""
_Method = Callable[Concatenate["StudyResults", Parameters], Returned]


def _importing(method: _Method[Parameters, Returned]) -> _Method[Parameters, Returned]:
    """Let a method import this program's packages."""

    @wraps(method)
    def wrapped(self: "StudyResults", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        with self._importing():
            return method(self, *args, **kwargs)

    return wrapped


class StudyResults:
    """A study, as it was when it was opened or last refreshed.

    All errors are of the class `cifake_tune.CifakeTuneError`, and their message says what to do.
    """

    def __init__(self, bucket: Bucket, name: str, importing: Importing = nullcontext) -> None:
        self.name = name
        self.bucket_url = bucket.url
        self._bucket = bucket
        self._importing = importing
        self._reader = JournalReader(bucket, name)
        self.refresh()

    def __repr__(self) -> str:
        return f"open_study({self.bucket_url!r}, {self.name!r})"

    @_importing
    def refresh(self) -> None:
        """Read what was recorded since the study was opened or last refreshed. Useful while the study runs."""
        self._reader.poll()
        if self._reader.state.study is None:
            raise no_study(self._bucket, self.name)

    @property
    @_importing
    def status(self) -> StudyView:
        """The study's progress, objective and best trial, as in `status --json`."""
        return view_study(self._state)

    @property
    @_importing
    def trials(self) -> tuple[TrialView, ...]:
        """All trials in the order in which they were suggested, as in `trials --json`."""
        return tuple(view_trial(trial) for trial in self._state.trials.values())

    @_importing
    def curves(self) -> dict[str, Curve]:
        """Return the metrics by epoch of every trial that has reported an epoch, by its id."""
        return {trial.trial_id: curve_of(trial) for trial in self._state.trials.values() if trial.epochs}

    @_importing
    def dataframe(self, *, epochs: bool = False) -> "pandas.DataFrame":
        """Return a pandas DataFrame with a row per trial or, if `epochs` is true, per epoch of each trial.

        The columns are those of `trials --format csv`, but `started` and `ended` are times in UTC. Raises UsageError
        if pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError(
                "dataframe() needs pandas, which is not installed. Install cifake-tune[pandas] or pandas."
            ) from None
        trials = list(self._state.trials.values())
        flat = epoch_rows(trials) if epochs else trial_rows(trials)
        frame = pandas.DataFrame.from_records(flat.rows, columns=list(flat.columns))
        for column in () if epochs else ("started", "ended"):
            frame[column] = pandas.to_datetime(frame[column].astype("float64"), unit="s", utc=True)
        return frame

    @_importing
    def best_hyperparameters(self) -> "keras_tuner.HyperParameters":
        """Return the hyperparameters of the best trial, to be passed to `build(hp)` of the study's space.

        They have values, but no ranges: Keras Tuner declares the ranges when the space's `build` is called. Imports
        Keras. Raises NoResultError if no trial has a score and a saved model yet.
        """
        trial = self._best()
        _choose_backend()
        import keras_tuner

        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values.update(trial.hyperparameters)
        return hyperparameters

    @_importing
    def best_model(self) -> "keras.Model":
        """Return the model of the best trial, the one that the evaluation measured if there is one.

        The model takes pixels from 0 to 255 if the study is one of images, and is not compiled: it can predict, and
        `compile` prepares it for `evaluate` and `fit`. Imports Keras. Layers of your own need the study's code on this
        machine, at the path that the study names. Raises NoResultError if no trial has a score and a saved model yet,
        SpaceError if Keras cannot load the model, and BucketError.
        """
        trial = self._best()
        metrics = self._evaluation()
        _choose_backend()
        from tuner.evaluation.trained_model import data_facts, load_trained_model

        is_evaluated = metrics is not None and metrics.checkpoint == trial.checkpoint
        name = names.evaluation(self.name, names.BEST_MODEL) if is_evaluated else trial.checkpoint
        assert name is not None
        facts = data_facts(self._bucket, self._state)
        model: keras.Model = load_trained_model(self._bucket, name, self._state.settings, facts)
        return model

    @property
    @_importing
    def evaluation(self) -> "AnyMetrics | None":
        """The evaluation of the best model on the test data, as in metrics.json. None if there is none yet."""
        return self._evaluation()

    @property
    def _state(self) -> StudyState:
        return self._reader.state

    def _best(self) -> Trial:
        best = self._state.best()
        if not best:
            raise NoResultError(
                f"study {self.name!r} has no trial with a score and a saved model yet. Call refresh() later."
            )
        return best[0]

    def _evaluation(self) -> "AnyMetrics | None":
        from tuner.evaluation.result_files import read_metrics

        return read_metrics(self._bucket, self.name)


def open_study(
    bucket: "str | os.PathLike[str]", name: str | None = None, *, importing: Importing = nullcontext
) -> StudyResults:
    """Open a study, also while it runs, to read its results.

    Args:
        bucket: The bucket: a folder, or a URL such as `gs://bucket/prefix`.
        name: Name of the study. Optional if the bucket has only one study.
        importing: Returns a context in which this program's packages can be imported.

    Raises:
        UsageError: The bucket has no such study.
        BucketError: The bucket cannot be read.
        JournalError: The study's journal is damaged.
    """
    opened = open_bucket(os.fspath(bucket))
    return StudyResults(opened, find_study(opened, name), importing)


def _choose_backend() -> None:
    """Choose the backend as the commands do, unless the caller has imported Keras with one."""
    if "keras" not in sys.modules:
        from tuner.keras_backend import choose_backend

        choose_backend()
