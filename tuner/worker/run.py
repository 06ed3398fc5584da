"""Runs a worker: it joins the chief, loads the data once, and trains trials until the search has finished."""

import contextlib
import gc
import logging
import os
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, JournalError
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import reading
from tuner.monitoring.endpoint import FINE, Monitor, Phase, always
from tuner.rpc import lease_service, tls, tls_client_errors
from tuner.scripts.session import ScriptSearch
from tuner.study.journal import JournalReader
from tuner.training import devices
from tuner.training.activities import Activity
from tuner.training.compilation_cache import keep_compiled
from tuner.worker.attempt import Attempt
from tuner.worker.chief_absence import ChiefAbsence
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.chief_outage import ChiefOutage
from tuner.worker.context import opened_context
from tuner.worker.gpu_usage import GpuUsageReader
from tuner.worker.heartbeat import HeartbeatThread
from tuner.worker.metrics import WorkerMetrics, gpu_metrics, gpu_usage_metrics
from tuner.worker.stop_signal import StopSignal

log = logging.getLogger(__name__)

STARTING_S = 60.0
"""Seconds for which a worker waits until the chief listens. This is enough for a chief that starts at the same time,
unless it waits for its data."""


def run_worker(
    bucket: Bucket,
    chief_address: str,
    encryption: tls.Files | None,
    name: str,
    cache: Path,
    monitor: Monitor,
    absence: ChiefAbsence | None = None,
    script: ScriptSearch | None = None,
) -> None:
    """Train trials for the chief until the search has finished.

    Args:
        bucket: Bucket of the study.
        chief_address: Address of the chief, as `host:port`.
        encryption: TLS files of this worker; None without TLS.
        name: Name of this worker.
        cache: Folder for unpacked data and compiled programs.
        monitor: Shows what the worker does.
        absence: Finds out whether the chief has ended for good; None outside a release.
        script: The search of the script that this process runs; None without a script.

    Raises:
        ChiefUnreachableError: The chief did not answer for too long.
        PreemptedError: SIGTERM was received, and the trial was returned to the chief.
        UsageError: The chief has ended for good.
        DataError: The data set is missing or damaged.
        SpaceError: The space cannot be loaded.
        BucketError: The bucket failed.
    """
    stop, metrics, outage = StopSignal(), WorkerMetrics(monitor.registry), ChiefOutage(chief_address)
    outage.begin()
    try:
        with stop.interrupting():
            tls_client_errors.await_listening(chief_address, STARTING_S, outage.begin)
        with tls.open_channel(chief_address, encryption, lease_service.OPTIONS) as channel:
            chief = ChiefClient(
                channel,
                chief_address,
                name,
                secrets.token_hex(8),
                lambda: tls_client_errors.connection_problem(chief_address, encryption),
                outage,
            )
            chief.pod = os.environ.get(names.ENV_POD, "")
            if absence:
                chief.chief_error, chief.late_error = absence.error, absence.late_error
            with stop.interrupting():
                joined = chief.join()
            monitor.study = joined.study.name
            monitor.enter(Phase(ready=always("the data is being loaded")))
            chief.timeout_s = joined.study.leases.chief_timeout_s
            chief.is_finished = EndOfSearch(bucket, joined.study.name).is_finished
            keep_compiled(cache, joined.study.training.compilation_cache_mb * 1_000_000)
            with opened_context(chief, joined, bucket, cache, stop, metrics, script) as context:
                show(monitor, context.heartbeat, joined.study.leases.duration_s)
                gc.collect()
                gc.freeze()  # exempts the imports: collecting garbage, as Keras does for every model, takes 0.2 s
                while (grant := _next_trial(chief, stop, metrics)) is not None:
                    Attempt(context, grant).run()
                end = "no trial is left for this worker" if chief.was_dismissed else "the search has finished"
                log.info("%s: %s", name, end)
    finally:
        outage.close()
        stop.finish()


def _next_trial(chief: ChiefClient, stop: StopSignal, metrics: WorkerMetrics) -> Grant | None:
    with metrics.activities.during(Activity.WAIT):
        return chief.next_trial(stop.check)


def show(monitor: Monitor, heartbeat: HeartbeatThread, lease_s: float) -> None:
    """Enter the phase in which the worker takes trials."""
    gpus, requested = devices.gpu_count(), devices.requested_gpus(os.environ)
    heartbeat.report_devices(gpus, devices.device(os.environ))
    usage = GpuUsageReader(os.environ)

    def ready() -> str:
        silent_s = heartbeat.silent_s()
        return FINE if silent_s < lease_s else f"the chief has answered no heartbeat for {silent_s:.0f} s"

    def metrics() -> Iterable[Metric]:
        yield reading(catalogue.WORKER_BEAT, {(): heartbeat.answered_at})
        memory = {usage.name(place): used for place, used in devices.memory().items()}
        yield from gpu_metrics(gpus, requested, memory)
        yield from gpu_usage_metrics(usage.read())

    monitor.enter(Phase(ready=ready, healthy=heartbeat.problem, metrics=metrics))


class EndOfSearch:
    """Looks up in the bucket whether a study's search has finished."""

    def __init__(self, bucket: Bucket, study: str) -> None:
        self._reader = JournalReader(bucket, study)
        self._lock = threading.Lock()  # training and reports may call at the same time

    def is_finished(self) -> bool:
        """Return whether the search has finished; False if the bucket cannot be read."""
        with self._lock, contextlib.suppress(BucketError, JournalError):
            self._reader.poll()
            return self._reader.state.finished is not None
        return False
