"""Event files for TensorBoard: the learning curves and hyperparameters of each trial that has ended or is paused.

Objects in a bucket cannot be appended to, so the chief writes one file per trial, after the trial has ended. The file
of a paused trial is replaced whenever the trial is paused again, and when it ends. A later chief writes the files that
an earlier chief has not written.
"""

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from sys import float_info

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError
from tuner.printable import printable
from tuner.study.records import TrialState, Value
from tuner.study.state import StudyState
from tuner.study.trial import Trial

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Maximum number of files that are written concurrently."""
SCORE = "score"
"""Tag of a trial's score. The score needs its own tag, because the HParams table shows the last value of each tag and a
trial's last epoch is seldom its best."""


class EventFiles:
    """Writes the files of a study's trials.

    Threads other than the one that changes the state may call only `write`.
    """

    def __init__(self, bucket: Bucket, state: StudyState) -> None:
        self._bucket = bucket
        self._state = state
        self._ended_before = [state.trials[trial_id] for trial_id in state.ended]
        """Trials that ended before this process started; their files are written only if missing."""
        self._steps = 0
        """Number of the state's steps that have been collected; at first none, because trials may be paused."""
        self._unwritten: list[Trial] = []

    def ended(self) -> bool:
        """Collect the trials that ended or were paused since the last call; return whether there is anything to write.

        A trial that continues after a pause is not collected, because a file is made of the trial's newest state.
        """
        new = dict.fromkeys(self._state.steps[self._steps :])
        before = set() if self._steps else {trial.trial_id for trial in self._ended_before}
        self._steps = len(self._state.steps)
        trials = [self._state.trials[trial_id] for trial_id in new if trial_id not in before]
        self._unwritten += [trial for trial in trials if trial.ended is not None or trial.state is TrialState.PAUSED]
        return bool(self._unwritten or self._ended_before)

    def write(self) -> None:
        """Write all missing files. Files that cannot be written are left for the next call or the next chief."""
        try:
            self._unwritten += self._missing()
        except BucketError as error:
            log.warning("the files for TensorBoard cannot be listed: %s", error)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            failed = pool.map(self._write, self._unwritten)
        self._unwritten = [trial for trial in failed if trial]

    def _missing(self) -> list[Trial]:
        if not self._ended_before:
            return []
        written = {
            names.parse_tensorboard_events(name)
            for name in self._bucket.list(names.tensorboard_prefix(self._state.settings.name))
        }
        # a file that was written while the trial was paused may not show the trial's end
        missing = [trial for trial in self._ended_before if trial.trial_id not in written or trial.pauses]
        self._ended_before = []
        return missing

    def _write(self, trial: Trial) -> Trial | None:
        """Write a trial's file; return the trial if that failed."""
        try:
            name = names.tensorboard_events(self._state.settings.name, trial.trial_id)
            self._bucket.write(name, event_file(trial))
        except BucketError as error:
            log.warning("the file of trial %s for TensorBoard cannot be written yet: %s", trial.trial_id, error)
            return trial
        return None


def event_file(trial: Trial) -> bytes:
    """Return the event file of a trial that has ended or is paused. Its steps are epochs, numbered from 1."""
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in _events(trial):
        writer.write(event.SerializeToString())
    return file.getvalue()


def _events(trial: Trial) -> Iterator[Event]:
    started, ended = trial.started or 0.0, trial.ended or max(trial.reported.values(), default=0.0)
    yield Event(wall_time=started, file_version="brain.Event:2")
    hyperparameters = {printable(key): _shown(value) for key, value in trial.chosen.items()}
    # TensorBoard shows the repetitions of a trial as one row with their mean
    row = trial.trial_id if trial.repeats is None else f"{trial.repeats} repeated"
    yield Event(wall_time=started, summary=hparams_pb(hyperparameters, row, started))
    for epoch in sorted(trial.epochs):
        values = [
            Summary.Value(tag=printable(tag), simple_value=value) for tag, value in sorted(trial.epochs[epoch].items())
        ]
        yield Event(wall_time=trial.reported[epoch], step=epoch + 1, summary=Summary(value=values))
    if trial.score is not None and trial.best_epoch is not None:
        score = Summary.Value(tag=SCORE, simple_value=trial.score)
        yield Event(wall_time=ended, step=trial.best_epoch + 1, summary=Summary(value=[score]))
    if trial.ended is None:
        return  # TensorBoard shows a session without an end as running
    failed = trial.state is TrialState.FAILED
    end = SessionEndInfo(status=Status.STATUS_FAILURE if failed else Status.STATUS_SUCCESS, end_time_secs=ended)
    about = metadata.create_summary_metadata(HParamsPluginData(session_end_info=end))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
    yield Event(wall_time=ended, summary=Summary(value=[value]))


def _shown(value: Value) -> Value:
    """Return a hyperparameter as TensorBoard can show it: it drops numbers that are not finite."""
    if isinstance(value, str):
        return printable(value)
    return value if isinstance(value, bool) or abs(value) <= float_info.max else str(value)
