"""The evaluation as a Job of a cluster: the chief starts it when the search is over, and stays until it is over too."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tuner.errors import EnvironmentFailure

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

POLL_S = 2.0
PATIENCE_S = 300.0
"""So long the Kubernetes API may fail before the chief gives up, and is started again."""


async def run_evaluation(job_name: str) -> None:
    """Start the evaluation and stay until it is over. Raises NoResultError where it failed, EnvironmentFailure."""
    from k8s.evaluation_job import JobState, in_cluster

    job = in_cluster(job_name)
    await _patiently(job.start)
    log.info("the evaluation has been started: job %s", job_name)
    while (state := await _patiently(job.state)) is JobState.UNDER_WAY:
        await asyncio.sleep(POLL_S)
    if state is JobState.FAILED:
        raise job.failed()
    log.info("the evaluation is over")


async def _patiently(call: Callable[[], Answer]) -> Answer:
    """Repeat a call of the Kubernetes API while it fails. Raises the last EnvironmentFailure."""
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
    """What a chief knows that runs as a Job."""

    evaluation_job: str
    """Name of the suspended Job to start when the search is over."""
    start: str
    """`Opened.start`."""
    linger_s: float = 0.0
    """So long the chief stays when all is over: Prometheus would not see the result of one that ends at once."""
