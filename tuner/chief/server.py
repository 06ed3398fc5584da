"""The chief's event loop, which serves the workers and does background work until the search has finished."""

import asyncio
import logging
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import grpc.aio

from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.clock import now
from tuner.chief.context import ChiefContext
from tuner.chief.grpc_server import make_server
from tuner.chief.request_handler import RequestHandler
from tuner.chief.service import Service
from tuner.chief.serving_time import ServingTime
from tuner.errors import EnvironmentFailure, PreemptedError
from tuner.rpc import tls
from tuner.study.records import TrialState
from tuner.study.tensorboard import EventFiles

log = logging.getLogger(__name__)

TICK_S = 0.25
STOPPED_S = 1.0
"""Delay of a tick, in seconds, which shows that the process was suspended and could not receive heartbeats."""
CURVES_S = 1.0
"""Seconds between writes of TensorBoard files. Each write covers all trials that have ended since the last one."""
STOP_S = 10.0
"""Seconds for pending answers at the end, when up to a thousand workers are answered STOPPED at the same time."""
UNWRITTEN_S = 10.0
"""Seconds for which a chief that was asked to stop waits for the bucket. Kubernetes kills the pod after 30 s."""


@dataclass(frozen=True)
class Chores:
    """Background work in the bucket. No worker waits for it."""

    models: SavedModels
    curves: EventFiles


async def serve(service: Service, chores: Chores, context: ChiefContext) -> None:
    """Listen on the context's address and serve the workers until they know that the search has finished.

    Raises EnvironmentFailure, PreemptedError, FencedError, BucketError.
    """
    _allow_many_connections()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_Threads())
    stop, late = asyncio.Event(), asyncio.Event()

    def request_stop() -> None:
        stop.set()
        loop.call_later(UNWRITTEN_S, late.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_stop)
    server = make_server(service)
    port = _add_port(server, context)
    writing = asyncio.create_task(service.journal.run())
    watching = asyncio.create_task(service.journal.watch())
    await server.start()
    security = "with TLS" if context.tls else "without TLS, so any process that can reach this port may join"
    study, term = service.study.name, service.state.term
    log.info("chief of study %s, term %d, listens on port %d %s", study, term, port, security)
    context.monitor.show_serving(service)
    working = asyncio.create_task(_work(service, chores, context))
    stopping = asyncio.create_task(_raise_when_set(stop))
    handling = asyncio.create_task(RequestHandler(service, context.bucket).run())
    parts: set[asyncio.Future[None]] = {writing, watching, working, stopping, handling, service.dispatcher.broken}
    for part in parts:
        part.add_done_callback(_without_traceback)
    try:
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()  # raises its error
    finally:
        await server.stop(STOP_S if service.finished.is_set() else 1.0)
        if not writing.done():
            service.journal.close()
            await _await_written(writing, late)


def _without_traceback(part: asyncio.Future[None]) -> None:
    """Keep asyncio from logging the error of a part.

    If a newer chief has taken over, several parts fail, and `serve` raises the error of only one of them.
    """
    if not part.cancelled():
        part.exception()


def _add_port(server: grpc.aio.Server, context: ChiefContext) -> int:
    """Bind the server to the context's address, and return the port. Raises EnvironmentFailure."""
    address = str(context.address)
    try:
        if context.tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, tls.server_credentials(context.tls)))
    except RuntimeError:
        raise EnvironmentFailure(
            f"the chief cannot listen on {address}. Choose a free port, and a host name or address of this machine."
        ) from None


class _Threads(ThreadPoolExecutor):
    """Threads for calls that may hang. The event loop would wait for its default threads when it closes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut down without waiting for calls that have not returned."""
        super().shutdown(wait=False, cancel_futures=True)


async def _await_written(writing: asyncio.Task[None], late: asyncio.Event) -> None:
    """Wait until the journal is written. Raises PreemptedError if `late` is set first."""
    lateness = asyncio.create_task(late.wait())
    await asyncio.wait({writing, lateness}, return_when=asyncio.FIRST_COMPLETED)
    lateness.cancel()
    if not writing.done():
        raise PreemptedError(
            "the chief was asked to stop, but the bucket does not answer, so records that were not written are lost. "
            "Start the chief again to repeat the lost work and continue the search."
        )
    writing.result()


def _allow_many_connections() -> None:
    """Raise the limit of open files, because each worker has a connection and the default is often 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS reports no limit, but has one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _raise_when_set(stop: asyncio.Event) -> None:
    """Raise PreemptedError once the process is asked to stop."""
    await stop.wait()
    raise PreemptedError("the chief was asked to stop. Start the chief again to continue the search.")


async def _work(service: Service, chores: Chores, context: ChiefContext) -> None:
    """Run the search until the workers know that it has finished. Then start the evaluation, if in a cluster."""
    cleaning = asyncio.create_task(_delete_models(service, chores.models))
    drawing = asyncio.create_task(_write_curves(service, chores.curves))
    for chore in cleaning, drawing:
        chore.add_done_callback(_without_traceback)
    try:
        await _tick(service)
        await drawing
    finally:
        cleaning.cancel()
        drawing.cancel()
    if context.cluster and service.state.best() and not service.state.shared_fault:
        await context.monitor.evaluate(context.cluster.evaluation_job)
    await asyncio.to_thread(lambda: chores.models.delete(chores.models.stale()))
    await context.monitor.drain_page()


async def _delete_models(service: Service, models: SavedModels) -> None:
    """Delete models that have become obsolete. A slow bucket does not delay other work."""
    while True:
        await asyncio.sleep(TICK_S)
        obsolete, paused = models.obsolete(), models.of_unpromotable()
        if obsolete or paused:
            # wait until the ends of the trials are durable, so that no later chief resumes a trial without its models
            await service.journal.commit(service.oracle.delete_models(paused, now()))
            trials = service.state.trials  # one that was leased meanwhile may resume from its models
            waiting = [trial for trial in paused if trials[trial].state is TrialState.PAUSED]
            await asyncio.to_thread(models.delete, [*obsolete, *(name for trial in waiting for name in paused[trial])])


async def _write_curves(service: Service, curves: EventFiles) -> None:
    """Write the TensorBoard files of ended trials until the search has finished, without delaying other work."""
    while True:
        last = service.finished.is_set()
        if curves.ended():
            await service.journal.commit([])  # no later chief may resume a trial that TensorBoard shows as ended
            await asyncio.to_thread(curves.write)
        if last:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(service.finished.wait(), CURVES_S)


async def _tick(service: Service) -> None:
    """End expired leases and budgets. Return when the search has finished and the workers know that it has."""
    serving_time = ServingTime(service)
    while True:
        slept_from = time.monotonic()
        await asyncio.sleep(TICK_S)
        late_s = time.monotonic() - slept_from - TICK_S
        if late_s > STOPPED_S:
            log.warning("the chief was suspended for %.1f s; all leases are extended by that time", late_s)
            service.oracle.extend_leases(late_s)
        if not service.finished.is_set():
            await service.expire()
            serving_time.record()
            service.workers.remove_silent()
        elif service.workers.all_dismissed(service.study.leases.duration_s):
            return
