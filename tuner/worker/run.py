"""A worker's life: join the chief, load the data once, take trials until the search is over."""

import contextlib
import gc
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import keras
from prometheus_client.metrics_core import Metric

from tuner import spaces
from tuner.bucket import Bucket
from tuner.data.arrays import open_training
from tuner.data.manifest import read_manifest
from tuner.errors import BucketError, JournalError
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import reading
from tuner.monitoring.endpoint import FINE, Monitor, Phase, always
from tuner.rpc import lease_service, tls, tls_client_errors
from tuner.study.journal import JournalReader
from tuner.study.objective import Objective
from tuner.temporary_files import temporary_folder
from tuner.training import devices
from tuner.training.activities import Activity
from tuner.worker.attempt import Attempt, WorkerContext
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.epoch_reporter import IoThreads
from tuner.worker.heartbeat import HeartbeatThread
from tuner.worker.log_writer import LogWriter
from tuner.worker.metrics import WorkerMetrics, gpu_metrics
from tuner.worker.stop_signal import StopSignal

log = logging.getLogger(__name__)

STARTING_S = 60.0
"""A chief that starts with its workers listens within so long, unless it waits for its data."""


def run_worker(
    bucket: Bucket, chief_address: str, encryption: tls.Files | None, name: str, cache: Path, monitor: Monitor
) -> None:
    """Work for the chief at `host:port` until the search is over.

    Raises ChiefUnreachableError, PreemptedError (SIGTERM: the trial is handed back), and the errors of data,
    space and bucket.
    """
    stop, metrics = StopSignal(), WorkerMetrics(monitor.registry)
    try:
        with stop.interrupting():
            tls_client_errors.await_listening(chief_address, STARTING_S)
        with tls.open_channel(chief_address, encryption, lease_service.OPTIONS) as channel:
            chief = ChiefClient(
                channel,
                chief_address,
                name,
                secrets.token_hex(8),
                lambda: tls_client_errors.trouble(chief_address, encryption),
            )
            with stop.interrupting():
                joined = chief.join()
            monitor.study = joined.study.name
            monitor.enter(Phase(ready=always("the data is being loaded")))
            chief.timeout_s = joined.study.leases.chief_timeout_s
            chief.is_over = EndOfSearch(bucket, joined.study.name).is_over
            with (
                HeartbeatThread(chief) as heart,
                IoThreads() as carriers,
                LogWriter(bucket, joined.study.name) as logs,
                temporary_folder() as folder,
            ):
                with stop.interrupting(), metrics.activities.during(Activity.PREPARE):
                    context = _open_context(
                        bucket, joined, chief, heart, stop, carriers, logs, Path(folder), cache, metrics
                    )
                show(monitor, heart, joined.study.leases.duration_s)
                gc.collect()
                gc.freeze()  # what was imported stays: Keras collects garbage for every model (0.2 s with TensorFlow)
                while (grant := _next_trial(chief, stop, metrics)) is not None:
                    Attempt(context, grant).run()
                log.info("%s: the search is over", name)
    finally:
        stop.over()


def _next_trial(chief: ChiefClient, stop: StopSignal, metrics: WorkerMetrics) -> Grant | None:
    with metrics.activities.during(Activity.WAIT):
        return chief.next_trial(stop.check)


def show(monitor: Monitor, heart: HeartbeatThread, lease_s: float) -> None:
    """Enter the phase in which the worker takes trials."""
    found, asked = devices.found(), devices.asked(os.environ)

    def ready() -> str:
        silent_s = time.time() - heart.answered_at
        return FINE if silent_s < lease_s else f"the chief has answered no heartbeat for {silent_s:.0f} s"

    def metrics() -> Iterable[Metric]:
        yield reading(catalogue.WORKER_BEAT, {(): heart.answered_at})
        yield from gpu_metrics(found, asked, devices.memory())

    monitor.enter(Phase(ready=ready, healthy=heart.trouble, metrics=metrics))


class EndOfSearch:
    """Looks up in the bucket whether a study's search is over."""

    def __init__(self, bucket: Bucket, study: str) -> None:
        self._reader = JournalReader(bucket, study)
        self._lock = threading.Lock()  # the training and the reports may ask at once

    def is_over(self) -> bool:
        """Say whether it is; a bucket that cannot be read does not say so."""
        with self._lock, contextlib.suppress(BucketError, JournalError):
            self._reader.poll()
            return self._reader.state.finished is not None
        return False


def _open_context(
    bucket: Bucket,
    joined: lease_service.Joined,
    chief: ChiefClient,
    heart: HeartbeatThread,
    stop: StopSignal,
    carriers: IoThreads,
    logs: LogWriter,
    folder: Path,
    cache: Path,
    metrics: WorkerMetrics,
) -> WorkerContext:
    study = joined.study
    manifest = read_manifest(bucket, joined.data)
    space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
    data = open_training(bucket, manifest, study.data.validation, study.validation_seed, cache)
    images = f"{len(data.train.labels):,} training and {len(data.validation.labels):,} validation images"
    log.info(
        "%s joins study %s: %s, %s on %s", chief.worker, study.name, images, keras.backend.backend(), devices.device()
    )
    return WorkerContext(
        bucket=bucket,
        study=study,
        objective=Objective(study.search.objective, joined.direction),
        space=space,
        data=data,
        classes=len(manifest.classes),
        chief=chief,
        heart=heart,
        stop=stop,
        carriers=carriers,
        logs=logs,
        folder=folder,
        metrics=metrics,
    )
