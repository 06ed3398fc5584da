"""Finds out from the cluster whether a worker was killed because it exceeded its memory.

The kernel kills such a worker without notice, so the worker cannot report it. To the chief, it is only silent, like the
worker of a lost node, whose trial may be retried many times. A trial that needs too much memory may not.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from tuner.chief.worker_registry import WorkerRegistry
from tuner.errors import EnvironmentFailure
from tuner.search.leases import Worker

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""Seconds for which the chief waits for the cluster's answers. Without an answer, the worker counts as lost."""


class Pods(Protocol):
    """The pods of a cluster."""

    def was_out_of_memory(self, pod: str) -> bool:
        """Return whether the worker in this pod was killed at its memory limit. Raises EnvironmentFailure."""
        ...


class WorkerDeaths:
    """Answers how lost workers ended. Without pods, no reason is known."""

    def __init__(self, pods: Pods | None = None) -> None:
        self._pods = pods

    async def out_of_memory(self, lost: Iterable[Worker], registry: WorkerRegistry) -> frozenset[Worker]:
        """Return those of the lost workers that were killed at their memory limit."""
        pods = self._pods
        asked = {worker: pod for worker in lost if pods and (pod := registry.pod_of(worker))}
        if pods is None or not asked:
            return frozenset()
        calls = [asyncio.to_thread(pods.was_out_of_memory, pod) for pod in asked.values()]
        try:
            async with asyncio.timeout(PATIENCE_S):
                answers = await asyncio.gather(*calls)
        except (EnvironmentFailure, TimeoutError) as error:
            reason = str(error) or f"the Kubernetes API did not answer within {PATIENCE_S:g} s."
            log.warning("workers whose reason of death is not known count as lost: %s", reason)
            return frozenset()
        return frozenset(worker for worker, killed in zip(asked, answers, strict=True) if killed)


def deaths_in_cluster() -> WorkerDeaths:
    """Return the reasons of deaths in this pod's own namespace, or none if this process may not call the cluster."""
    from k8s.worker_pods import worker_pods

    try:
        return WorkerDeaths(worker_pods())
    except EnvironmentFailure as error:
        log.warning("workers that exceed their memory count as lost: %s", error)
        return WorkerDeaths()
