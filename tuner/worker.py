"""A worker: takes a trial, trains it, keeps its lease, saves and resumes, reports."""

import logging
import secrets
import signal
import tempfile
import traceback
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal

import keras
import keras_tuner

from tuner import handshake, names, saved_model, spaces, tls, wire
from tuner.bucket import Bucket
from tuner.client import ChiefClient, FencedAttemptError, Grant, Heart, RefusedError
from tuner.config import Study
from tuner.data.arrays import Training, open_training
from tuner.data.manifest import read_manifest
from tuner.errors import (
    ChiefUnreachableError,
    CifakeTuneError,
    ConfigError,
    ObjectNotFoundError,
    PreemptedError,
    SpaceError,
)
from tuner.training import InvalidTrialError, Task, metrics_line, train
from tuner.trials import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What all trials of a worker share."""

    bucket: Bucket
    study: Study
    direction: Literal["max", "min"]
    space: keras_tuner.HyperModel
    data: Training
    classes: int


def run_worker(bucket: Bucket, chief_address: str, encryption: tls.Files | None, name: str, cache: Path) -> None:
    """Work for the chief at `host:port` until the search is over.

    Raises ChiefUnreachableError, PreemptedError (SIGTERM: the trial is handed back), and the errors of data,
    space and bucket.
    """
    stop = StopSignal()
    with tls.open_channel(chief_address, encryption, wire.OPTIONS) as channel:
        chief = ChiefClient(
            channel, chief_address, name, secrets.token_hex(8), lambda: handshake.trouble(chief_address, encryption)
        )
        joined = chief.join()
        study = joined.study
        chief.timeout_s = study.leases.chief_timeout_s
        with Heart(chief) as heart:
            manifest = read_manifest(bucket, joined.data)
            space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
            data = open_training(bucket, manifest, study.data.validation, study.seed, cache)
            images = f"{len(data.train.labels):,} training and {len(data.validation.labels):,} validation images"
            log.info("%s joins study %s: %s, %s on %s", name, study.name, images, keras.backend.backend(), device())
            shop = Workshop(bucket, study, joined.direction, space, data, len(manifest.classes))
            while (grant := chief.next_trial()) is not None:
                with stop.deferred():
                    _Attempt(shop, chief, heart, stop, grant).run()
            log.info("%s: the search is over", name)


class StopSignal:
    """SIGTERM raises PreemptedError: at once, or within `deferred` where its code asks, or at that code's end."""

    def __init__(self) -> None:
        self._received = False
        self._deferred = False
        signal.signal(signal.SIGTERM, self._handle)

    def deferred(self) -> "StopSignal":
        """Use as `with stop.deferred():`, around code that must not be interrupted just anywhere."""
        return self

    def __enter__(self) -> None:
        self._deferred = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._deferred = False
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise PreemptedError where the signal has come."""
        if self._received:
            raise PreemptedError("the worker was asked to stop; its trial goes on elsewhere, from its last epoch.")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        if not self._deferred:
            self.check()


class _Attempt:
    """One attempt at a trial: the listener of its training."""

    def __init__(self, shop: Workshop, chief: ChiefClient, heart: Heart, stop: StopSignal, grant: Grant) -> None:
        self._shop = shop
        self._chief = chief
        self._heart = heart
        self._stop = stop
        self._grant = grant
        self._task = make_task(shop, grant)
        self._label = f"trial {grant.trial_id}, attempt {grant.attempt}"
        self._saved: dict[int, str] = {}
        self._objective = dict(self._task.history)
        self._images_per_s = 0.0
        self._checked = False

    def run(self) -> None:
        """Train the trial, and tell the chief how it ended; raises only what ends the worker."""
        values = {k: v for k, v in self._grant.trial.hyperparameters.values.items() if not k.startswith("tuner/")}
        log.info("%s: %s", self._label, "  ".join(f"{k}={v}" for k, v in values.items()))
        self._heart.at_work(self._grant)
        try:
            self._train()
            self._chief.complete(self._grant)
            log.info("%s: completed", self._label)
        except FencedAttemptError:
            log.warning("%s: it is another worker's now; dropped", self._label)
        except PreemptedError:
            self._give_back(Outcome.PREEMPTED, "the worker was asked to stop")
        except CifakeTuneError:
            raise
        except (InvalidTrialError, RefusedError) as error:
            self._give_back(Outcome.INVALID, str(error))
        except Exception as error:
            outcome = Outcome.OUT_OF_MEMORY if out_of_memory(error) else Outcome.FAILED
            first_line = (str(error).splitlines() or ["no message"])[0]
            trace = traceback.format_exc()[-wire.REASON_CHARACTERS // 2 :]
            self._give_back(outcome, f"{type(error).__name__}: {first_line}\n{trace}")
        finally:
            self._heart.idle()

    # ---- the training's listener ------------------------------------------------------------------

    def check(self) -> None:
        """Raise where the training is not wanted any more."""
        self._stop.check()
        if self._heart.fenced.is_set():
            raise FencedAttemptError

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Pass on how far the epoch is."""
        self._images_per_s = images_per_s or self._images_per_s
        self._heart.progress(epoch, share, self._images_per_s)

    def epoch_done(self, epoch: int, metrics: dict[str, float], model: keras.Model) -> bool:
        """Save the model, then report the epoch, then delete models that are neither best nor newest."""
        if not self._checked:
            self._check_output(model)
        name = names.checkpoint(self._shop.study.name, self._grant.trial_id, self._grant.attempt, epoch)
        with tempfile.TemporaryDirectory(prefix="cifake-tune-") as folder:
            file = Path(folder) / "model.keras"
            model.save(file)
            self._shop.bucket.upload(name, file)
        stop = self._chief.report(self._grant, epoch, metrics, name)
        log.info(
            "%s: epoch %d/%d  %s  (%s images/s)",
            self._label,
            epoch + 1,
            self._task.epochs,
            metrics_line(metrics, ("loss", "accuracy", "val_loss", "val_accuracy")),
            f"{self._images_per_s:,.0f}",
        )
        # an attempt that began anew makes the epochs after this one again, as the chief knows
        self._objective = {e: value for e, value in self._objective.items() if e < epoch}
        self._objective[epoch] = metrics[self._task.objective]
        self._saved[epoch] = name
        best = self._task.best_epoch(self._objective)
        for old in [old for old in self._saved if old not in (best, epoch)]:
            self._shop.bucket.delete(self._saved.pop(old))
        return stop

    # ---- inside -------------------------------------------------------------------------------------

    def _train(self) -> None:
        with tempfile.TemporaryDirectory(prefix="cifake-tune-") as folder:
            task = self._task
            if self._grant.checkpoint is not None:
                file = Path(folder) / "checkpoint.keras"
                try:
                    self._shop.bucket.download(self._grant.checkpoint, file)
                    task = replace(task, model_file=file)
                    log.info("%s: goes on from epoch %d", self._label, task.first_epoch + 1)
                except ObjectNotFoundError as error:
                    log.warning("%s: starts again from epoch 0, its saved model is gone: %s", self._label, error)
                    task = replace(task, first_epoch=0, history={})
                    self._objective = {}
            if task.first_epoch < task.epochs and not task.out_of_patience(self._objective):
                train(self._shop.space, task, self._shop.data, self)

    def _check_output(self, model: keras.Model) -> None:
        """Find out after one epoch, not at the evaluation, that the model does not answer with probabilities."""
        images = self._shop.data.validation.images[:32].astype("float32")
        outputs = keras.ops.convert_to_numpy(model(images, training=False))
        try:
            saved_model.class_probabilities(outputs.reshape(len(images), -1), self._shop.classes)
        except SpaceError as error:
            raise InvalidTrialError(str(error)) from None
        self._checked = True

    def _give_back(self, outcome: Outcome, reason: str) -> None:
        log.log(
            logging.INFO if outcome is Outcome.PREEMPTED else logging.ERROR, "%s: %s: %s", self._label, outcome, reason
        )
        if outcome is Outcome.PREEMPTED:
            self._heart.stop()  # a beat after the hand-back would look like a worker that is still there
        try:
            self._chief.give_back(self._grant, outcome, reason)
        except FencedAttemptError:
            log.info("%s: the chief has given it to another worker already", self._label)
        except ChiefUnreachableError as error:
            if outcome is not Outcome.PREEMPTED:
                raise
            log.warning("%s: not handed back, its lease will run out: %s", self._label, error)


def make_task(shop: Workshop, grant: Grant) -> Task:
    """Return what an attempt is to train."""
    hyperparameters, study = grant.trial.hyperparameters, shop.study
    objective = study.search.objective
    metrics = grant.trial.metrics
    history = metrics.get_history(objective) if metrics.exists(objective) else []
    return Task(
        hyperparameters=hyperparameters,
        seed=trial_seed(study.seed, grant.trial_id),
        batch_size=study.data.batch_size,
        epochs=int(hyperparameters.values.get("tuner/epochs", study.training.epochs)),
        first_epoch=grant.first_epoch,
        patience=study.training.patience,
        objective=objective,
        direction=shop.direction,
        history={observation.step: float(observation.mean()) for observation in history},
    )


def trial_seed(study_seed: int, trial_id: str) -> int:
    """Return a trial's seed: the same for every attempt at it, another for every trial."""
    return zlib.crc32(f"{study_seed}/{trial_id}".encode()) & 0x7FFFFFFF


def out_of_memory(error: Exception) -> bool:
    """Say whether a framework's exception means that memory did not suffice."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow
        or "RESOURCE_EXHAUSTED" in str(error)  # XLA
    )


def device() -> str:
    """Return what the models are trained on, as `2 x GPU` or `CPU`."""
    return f"{count} x GPU" if (count := gpus()) else "CPU"


def gpus() -> int:
    """Return how many GPUs Keras finds."""
    try:
        return sum(d.startswith(("gpu", "cuda")) for d in keras.distribution.list_devices())
    except (RuntimeError, ValueError):
        return 0


def check_gpus(environment: Mapping[str, str]) -> None:
    """Say so where this worker asked for GPUs and finds none. Raises ConfigError where it is not to go on without."""
    asked = environment.get(names.ENV_GPUS, "0")
    if asked == "0" or gpus():
        return
    found = f"{asked} GPU{'' if asked == '1' else 's'} asked for, and {keras.backend.backend()} finds none"
    if environment.get(names.ENV_REQUIRE_GPU) == "true":
        raise ConfigError(
            f"{found}. Use an image with CUDA's libraries and a node with its driver, or set workers.requireGPU=false "
            "to train on the CPU."
        )
    log.warning("%s: training on the CPU", found)
