"""The evaluation as a Kubernetes Job. The chief starts this Job after the search, and waits until it has ended."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tuner.errors import EnvironmentFailure
from tuner.names import ReleaseId

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

POLL_S = 2.0
SUSPENDED_S = 30.0
"""Seconds after which a suspended evaluation is started again. Applying the chart's manifests again (`kubectl apply`)
suspends it. The delay leaves time to a queue other than Kueue that suspends the Job and starts it itself."""
PATIENCE_S = 300.0
"""Seconds for which the Kubernetes API may fail before the chief exits. Kubernetes then restarts the chief."""


async def run_evaluation(job_name: str) -> None:
    """Start the evaluation and wait until it has ended.

    Raises NoResultError if the evaluation failed, and EnvironmentFailure if the Kubernetes API keeps failing.
    """
    from k8s.evaluation_job import JobState, in_cluster

    job = in_cluster(job_name)
    await _patiently(job.start)
    log.info("the evaluation has started as Job %s", job_name)
    started = time.monotonic()
    while (state := await _patiently(job.state)) in (JobState.UNDER_WAY, JobState.SUSPENDED):
        if state is JobState.UNDER_WAY:
            started = time.monotonic()
        elif time.monotonic() - started >= SUSPENDED_S:
            await _patiently(job.start)
            started = time.monotonic()
            log.info("the Job %s had been suspended, so the evaluation was started again", job_name)
        await asyncio.sleep(POLL_S)
    if state is JobState.FAILED:
        raise job.failed()
    log.info("the evaluation has finished")


async def _patiently(call: Callable[[], Answer]) -> Answer:
    """Retry a call of the Kubernetes API while it fails. Raises the last EnvironmentFailure after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await asyncio.to_thread(call)
        except EnvironmentFailure as error:
            if time.monotonic() > deadline:
                raise
            log.warning("%s Trying again.", error)
        await asyncio.sleep(POLL_S)


@dataclass(frozen=True)
class ChiefJob:
    """The settings of a chief that runs as a Kubernetes Job."""

    evaluation_job: str
    """Name of the suspended Job to start after the search."""
    start: str
    """Id of the chief's Job; see `Opened.start`."""
    release: ReleaseId | None = None
    """Release of the chief; None if its Job does not belong to one."""
    linger_s: float = 0.0
    """Seconds for which the chief keeps running after the evaluation, so that Prometheus can scrape the result."""
