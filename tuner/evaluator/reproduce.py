"""Reproduces a study's best trial from provenance.json and the data set in the bucket, or the space's own data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from tuner.bucket import Bucket
from tuner.config import settings
from tuner.config.loading import parse
from tuner.data.arrays import TrainingData, open_training
from tuner.data.manifest import read_manifest
from tuner.evaluation.provenance import Provenance, Stage
from tuner.spaces import load_own_space, load_space
from tuner.spaces.own_data import OwnTrainingData, load_training_parts
from tuner.study.objective import Objective
from tuner.training.loop import Task, train


@dataclass(frozen=True)
class Reproduction:
    """The reproduced training."""

    model: Any
    """The model after the best epoch."""

    metrics: dict[int, dict[str, float]]
    """Metrics of the last stage's epochs up to the best one."""


def reproduce(provenance: Provenance, bucket: Bucket, cache: Path) -> Reproduction:
    """Train as the study did, without a chief, up to the epoch whose model was evaluated.

    With the same packages on the same kind of CPU with the same number of threads, the metrics are equal bit for bit.
    Otherwise they may differ by rounding. Raises the errors of loading the data and of training.
    """
    study = parse(provenance.study, "provenance.json")
    data: TrainingData | OwnTrainingData
    if provenance.data is None:
        space = load_own_space(study.space)
        data = load_training_parts(space, study.validation_seed)
    else:
        manifest = read_manifest(bucket, provenance.data.digest)
        data = open_training(bucket, manifest, study.data.validation, study.validation_seed, cache)
        space = load_space(study.space, manifest.image_shape, len(manifest.classes))
    file = cache / "again.keras"
    recorder: _Recorder | None = None
    for stage in provenance.stages:
        task = _task(stage, study).resumed(stage.first_epoch, file if recorder else None, {})
        recorder = _Recorder(stage.best_epoch, file)
        try:
            train(space, task, data, recorder)
        except _EnoughError:
            continue
    assert recorder is not None
    return Reproduction(keras.saving.load_model(file, safe_mode=True), recorder.metrics)


def _task(stage: Stage, study: settings.Study) -> Task:
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.values.update(stage.hyperparameters)
    return Task(
        hyperparameters=hyperparameters,
        seed=stage.seed,
        batch_size=study.data.batch_size,
        epochs=stage.epochs,
        devices=study.training.devices,
        objective=Objective(study.search.objective),  # no patience is set, so the direction does not matter
    )


class _EnoughError(Exception):
    """The best epoch has been trained."""


@dataclass
class _Recorder:
    """Records the metrics of all epochs up to the best one, saves its model, and then ends the training."""

    best_epoch: int
    file: Path
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)

    def check(self) -> None:
        """Do nothing, because the training is never interrupted."""

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Do nothing, because progress is not shown."""

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        """Record the metrics. After the best epoch, save the model and end the training."""
        self.metrics[epoch] = metrics
        if epoch == self.best_epoch:
            model.save(self.file)
            raise _EnoughError
