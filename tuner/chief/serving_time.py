"""Records for how long the chief has served, and for how long its workers have had no trial."""

import time

from tuner.chief.clock import now
from tuner.chief.service import Service
from tuner.study.status import WorkerState


class ServingTime:
    """Counts the idle time of workers, and has the time recorded regularly, whether or not anything else happens."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._counted = time.monotonic()
        self._idle_s = 0.0
        """Seconds of this term for which workers had no trial, summed over the workers."""

    def record(self) -> None:
        """Count the time since the last call. Must be called often."""
        service, monotonic = self._service, time.monotonic()
        busy = {worker.name for worker in service.oracle.at_work()}
        idle = sum(state is WorkerState.IDLE for state in service.workers.states(busy, service.study.leases).values())
        self._idle_s += idle * (monotonic - self._counted)
        self._counted = monotonic
        records = [] if service.state.finished else service.oracle.record_time(round(self._idle_s, 3), now())
        if records:
            service.journal.append(records)
