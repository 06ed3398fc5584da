"""Everything that the attempts of a worker share: the study's data, the space and the worker's threads."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import keras_tuner

from tuner import spaces
from tuner.bucket import Bucket
from tuner.config.settings import Study
from tuner.data.arrays import TrainingData, open_training
from tuner.data.manifest import read_manifest
from tuner.errors import UsageError
from tuner.rpc.lease_service import Joined
from tuner.scripts.session import ScriptSearch
from tuner.scripts.settings import use_objective
from tuner.scripts.training import ScriptTrainer
from tuner.spaces.own_data import OwnPart, OwnTrainingData, load_training_parts
from tuner.study.objective import Objective
from tuner.temporary_files import temporary_folder
from tuner.training import devices
from tuner.training.activities import Activity
from tuner.training.trainer import SpaceTrainer, Trainer
from tuner.worker.chief_client import ChiefClient
from tuner.worker.epoch_reporter import IoThreads
from tuner.worker.heartbeat import HeartbeatThread
from tuner.worker.log_writer import LogWriter
from tuner.worker.metrics import WorkerMetrics
from tuner.worker.stop_signal import StopSignal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerContext:
    """Everything that the attempts of a worker share."""

    bucket: Bucket
    study: Study
    objective: Objective
    space: keras_tuner.HyperModel
    data: TrainingData | OwnTrainingData
    trainer: Trainer
    classes: int
    """Number of classes; 0 if the space brings its own data."""
    chief: ChiefClient
    heartbeat: HeartbeatThread
    stop: StopSignal
    io_threads: IoThreads
    logs: LogWriter
    folder: Path
    """Folder for files that are uploaded or downloaded."""
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)


@contextmanager
def opened_context(
    chief: ChiefClient,
    joined: Joined,
    bucket: Bucket,
    cache: Path,
    stop: StopSignal,
    metrics: WorkerMetrics,
    script: ScriptSearch | None = None,
) -> Iterator[WorkerContext]:
    """Load the study's data and space, and run the worker's threads for the duration of the block.

    Args:
        chief: Client that has already joined the chief.
        joined: The chief's answer: the study and its data set.
        bucket: Bucket that contains the data set and receives checkpoints and logs.
        cache: Folder in which the data's shards are kept for later processes.
        stop: Signal that interrupts loading.
        metrics: Metrics of this worker.
        script: The search of the script that this process runs; None without a script.

    Raises:
        BucketError: The bucket failed.
        DataError: The data set is missing or damaged.
        SpaceError: The search space cannot be loaded.
        PreemptedError: The stop signal was received while the data was being loaded.
    """
    study = joined.study
    with (
        HeartbeatThread(chief) as heartbeat,
        IoThreads() as io_threads,
        LogWriter(bucket, study.name) as logs,
        temporary_folder() as folder,
    ):
        with stop.interrupting(), metrics.activities.during(Activity.PREPARE):
            source = _open_data(joined, bucket, cache) if script is None else _of_script(joined, script)
            log.info("%s joins study %s: %s", chief.worker, study.name, source.describe())
        yield WorkerContext(
            bucket=bucket,
            study=study,
            objective=Objective(study.search.objective, joined.direction),
            space=source.space,
            data=source.data,
            trainer=source.trainer,
            classes=source.classes,
            chief=chief,
            heartbeat=heartbeat,
            stop=stop,
            io_threads=io_threads,
            logs=logs,
            folder=Path(folder),
            metrics=metrics,
        )


@dataclass(frozen=True)
class _Source:
    """A study's space with the data that it is trained on."""

    space: keras_tuner.HyperModel
    data: TrainingData | OwnTrainingData
    trainer: Trainer
    classes: int

    def describe(self) -> str:
        """Return the sizes of the data, and the device."""
        train, validation = self.data.train, self.data.validation
        if isinstance(self.trainer, ScriptTrainer):
            sizes = "the data of its script"
        elif isinstance(train, OwnPart) and isinstance(validation, OwnPart):
            sizes = f"{train.describe()} of its own data for training, {validation.describe()} for validation"
        else:
            sizes = f"{train.count:,} training and {validation.count:,} validation images"
        return f"{sizes}, {keras.backend.backend()} on {devices.device(os.environ)}"


def _open_data(joined: Joined, bucket: Bucket, cache: Path) -> _Source:
    study = joined.study
    if study.data.own:
        space = spaces.load_own_space(study.space)
        parts = load_training_parts(space, study.validation_seed)
        return _Source(space, parts, SpaceTrainer(space, parts), 0)
    manifest = read_manifest(bucket, joined.data)
    space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
    data = open_training(bucket, manifest, study.data.validation, study.validation_seed, cache)
    return _Source(space, data, SpaceTrainer(space, data), len(manifest.classes))


def _of_script(joined: Joined, script: ScriptSearch) -> _Source:
    if (name := joined.study.space.script) is None:
        raise UsageError(
            "this worker runs a script, but the chief searches a space. Start both with the same settings."
        )
    log.info("the search of %s begins", name)
    use_objective(script, Objective(joined.study.search.objective, joined.direction))
    unknown = OwnPart(None, None, None)  # only the script knows its data
    return _Source(script.tuner.hypermodel, OwnTrainingData(unknown, unknown), ScriptTrainer(script), 0)
