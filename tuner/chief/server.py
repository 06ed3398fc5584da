"""The chief's server: it listens, serves the workers, and does its chores until the search is over."""

import asyncio
import logging
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.context import ChiefContext
from tuner.chief.grpc_server import make_server
from tuner.chief.service import Service, now
from tuner.errors import EnvironmentFailure, PreemptedError
from tuner.rpc import tls
from tuner.study.tensorboard import EventFiles

log = logging.getLogger(__name__)

TICK_S = 0.25
STOPPED_S = 1.0
"""A tick that comes so late: the process itself was stopped, and could hear nobody meanwhile."""
CURVES_S = 1.0
"""The files of all trials that ended meanwhile are written together."""
STOP_S = 10.0
"""At the end, answers that are under way get so long: a thousand workers are told at once that the search is over."""
UNWRITTEN_S = 10.0
"""Asked to stop, the chief waits so long for a bucket that does not answer: Kubernetes kills a pod after 30 s."""


@dataclass(frozen=True)
class Chores:
    """What the chief does to the bucket beside serving, and nobody waits for."""

    models: SavedModels
    curves: EventFiles


async def serve(service: Service, chores: Chores, context: ChiefContext) -> None:
    """Listen on the context's address and serve the workers until the search is over.

    Raises PreemptedError, FencedError, BucketError.
    """
    _allow_many_connections()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_Threads())
    stop, late = asyncio.Event(), asyncio.Event()

    def stopped() -> None:
        stop.set()
        loop.call_later(UNWRITTEN_S, late.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped)
    server = make_server(service)
    listens_on = str(context.address)
    try:
        if context.tls is None:
            port = server.add_insecure_port(listens_on)
        else:
            port = server.add_secure_port(listens_on, tls.server_credentials(context.tls))
    except RuntimeError:
        raise EnvironmentFailure(
            f"the chief cannot listen on {listens_on}; is the port in use, or no such host here?"
        ) from None
    writing = asyncio.create_task(service.journal.run())
    watching = asyncio.create_task(service.journal.watch())
    await server.start()
    how = "with TLS" if context.tls else "without TLS: whoever reaches it may join"
    log.info("chief of study %s, term %d, listens on port %d %s", service.study.name, service.state.term, port, how)
    context.monitor.show_serving(service)
    try:
        ticking = asyncio.create_task(_work(service, chores, context))
        stopping = asyncio.create_task(_stopped(stop))
        parts: set[asyncio.Future[None]] = {writing, watching, ticking, stopping, service.dispatcher.broken}
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()  # raises what went wrong
    finally:
        await server.stop(STOP_S if service.finished.is_set() else 1.0)
        if not writing.done():
            service.journal.close()
            await _written(writing, late)


class _Threads(ThreadPoolExecutor):
    """Threads for calls that may hang: the loop's own are waited for when it closes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave calls that are under way to themselves."""
        super().shutdown(wait=False, cancel_futures=True)


async def _written(writing: asyncio.Task[None], late: asyncio.Event) -> None:
    """Wait until all is written. Raises PreemptedError where it is too late for that."""
    lateness = asyncio.create_task(late.wait())
    await asyncio.wait({writing, lateness}, return_when=asyncio.FIRST_COMPLETED)
    lateness.cancel()
    if not writing.done():
        raise PreemptedError(
            "the chief was asked to stop, and the bucket does not answer; what it was not told is done again when the "
            "chief is started again."
        )
    writing.result()


def _allow_many_connections() -> None:
    """Every worker is a connection, and many systems let a process have 1,024 at first, and more if it asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says it has no limit, and then has one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    raise PreemptedError("the chief was asked to stop; the search goes on when it is started again.")


async def _work(service: Service, chores: Chores, context: ChiefContext) -> None:
    cleaning = asyncio.create_task(_clean(service, chores.models))
    drawing = asyncio.create_task(_draw(service, chores.curves))
    try:
        await _tick(service)
        await drawing
    finally:
        cleaning.cancel()
        drawing.cancel()
    if context.cluster and service.state.best():
        await context.monitor.evaluate(context.cluster.evaluation_job)
    await asyncio.to_thread(lambda: chores.models.delete(chores.models.stale()))
    await context.monitor.drain_page()


async def _clean(service: Service, models: SavedModels) -> None:
    """Delete models that cannot win any more, as they come; a slow bucket delays nothing but this."""
    while True:
        await asyncio.sleep(TICK_S)
        if obsolete := models.obsolete():
            # a chief after us must not find a trial unended whose models we have deleted
            await service.journal.commit([])
            await asyncio.to_thread(models.delete, obsolete)


async def _draw(service: Service, curves: EventFiles) -> None:
    """Write what TensorBoard shows of the trials that ended, until the search is over; it delays nothing else."""
    while True:
        last = service.finished.is_set()
        if curves.ended():
            await service.journal.commit([])  # a chief after us must not find unended what TensorBoard shows ended
            await asyncio.to_thread(curves.write)
        if last:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(service.finished.wait(), CURVES_S)


async def _tick(service: Service) -> None:
    """End leases that ran out; return when the search is over and the workers know it."""
    while True:
        slept_from = time.monotonic()
        await asyncio.sleep(TICK_S)
        late_s = time.monotonic() - slept_from - TICK_S
        if late_s > STOPPED_S:
            log.warning("the chief stood still for %.1f s: leases last longer by that", late_s)
            service.oracle.extend_leases(late_s)
        if not service.finished.is_set():
            await service.commit(service.oracle.expire(now()))
            service.workers.remove_silent()
        elif service.workers.all_dismissed(service.study.leases.duration_s):
            return
