"""The chief's life: recover the study, open a term, serve the workers, end.

It learns the space by building the model once, as Keras Tuner's chief does, and stays until every worker
that it knows has been told that the search is over. In a cluster it then starts the evaluation, and stays until that
is over too, so that whoever asks how far the study is has someone to ask.
"""

import asyncio
import gc
import logging
import resource
import secrets
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from tuner import names, spaces
from tuner.address import Address
from tuner.bucket import Bucket
from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.journal_writer import Journal
from tuner.chief.metrics import JournalMetrics
from tuner.chief.monitor import ChiefMonitor, linger
from tuner.chief.service import Service, make_server, now
from tuner.config.settings import Study
from tuner.data.manifest import find_data_sets, read_manifest
from tuner.errors import FencedError, NoResultError, PreemptedError, SurroundingsError, UsageError
from tuner.rpc import tls, tls_server_errors
from tuner.search.oracle import Oracle
from tuner.search.suggester import direction_of, make_suggester
from tuner.spaces.exploration import explore
from tuner.study.compatibility import check_resume
from tuner.study.journal import JournalReader, check_whole
from tuner.study.progress import why_no_result
from tuner.study.records import Opened
from tuner.study.snapshots import Snapshotter
from tuner.study.state import StudyState
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
class Cluster:
    """What a chief knows that runs as a Job."""

    evaluation_job: str
    """Name of the suspended Job to start when the search is over."""
    start: str
    """`Opened.start`."""
    linger_s: float = 0.0
    """So long the chief stays when all is over: Prometheus would not see the result of one that ends at once."""


@dataclass(frozen=True)
class Chores:
    """What the chief does to the bucket beside serving, and nobody waits for."""

    models: SavedModels
    curves: EventFiles


def run_chief(
    study: Study,
    data_digest: str | None,
    address: Address,
    encryption: tls.Files | None,
    cluster: Cluster | None,
    shown: ChiefMonitor,
) -> StudyState:
    """Run the search until it is over and return its final state; in a cluster, the evaluation too.

    Raises ConfigError (the study began with other settings), FencedError (a newer chief took over),
    PreemptedError (SIGTERM), NoResultError (no trial can be evaluated, or its evaluation failed), BucketError.
    """
    try:
        state = _run_chief(shown.bucket, study, data_digest, address, encryption, cluster, shown)
    except NoResultError:
        linger(cluster.linger_s if cluster else 0.0)
        raise
    linger(cluster.linger_s if cluster else 0.0)
    return state


def _run_chief(
    bucket: Bucket,
    study: Study,
    data_digest: str | None,
    address: Address,
    encryption: tls.Files | None,
    cluster: Cluster | None,
    shown: ChiefMonitor,
) -> StudyState:
    digest = find_data_set(bucket, data_digest)
    reader = JournalReader(bucket, study.name)
    reader.poll()
    check_whole(bucket, study.name, reader.next_number)
    _check_begun(reader.state, study, digest)  # before the minutes that a user's own model may take to build
    if nothing_to_search(reader.state, study, cluster):
        return _over(bucket, reader.state, cluster, shown)
    manifest = read_manifest(bucket, digest)
    space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
    hyperparameters = spaces.narrow(explore(space, manifest.image_shape), study.space.values)
    direction = direction_of(study.search.objective, study.search.direction)
    suggester = make_suggester(study, hyperparameters, direction)
    journal = open_term(
        bucket, reader, study, digest, "max" if direction == "max" else "min", cluster, shown.journal_metrics
    )
    state = reader.state
    if journal is None:
        return _over(bucket, state, cluster, shown)
    suggester.restore(state)
    chores = Chores(SavedModels(bucket, state), EventFiles(bucket, state))

    async def serve() -> None:
        gc.freeze()  # the imports' million objects: a fifth of the time went into looking for garbage among them
        service = Service(Oracle(state, now()), suggester, hyperparameters, journal, shown.service_metrics)
        await _serve(service, chores, address, encryption, cluster, shown)

    with tls_server_errors.told(encryption) if encryption else nullcontext():
        asyncio.run(serve())
    shown.over(state)
    if not state.best():
        raise NoResultError(why_no_result(state))
    return state


def open_term(
    bucket: Bucket,
    reader: JournalReader,
    study: Study,
    digest: str,
    direction: Literal["max", "min"],
    cluster: Cluster | None,
    metrics: JournalMetrics,
) -> Journal | None:
    """Open the next term, and return the journal to write to; the reader's state is then the newest.

    None where an older chief has ended the search meanwhile: nobody would come to work for us.
    An older chief that is still at work takes the segment that we were about to write, again and again: we read on
    until ours is the next.
    """
    writer = secrets.token_hex(8)
    while True:
        reader.poll()
        state = reader.state
        _check_begun(state, study, digest)
        if nothing_to_search(state, study, cluster):
            return None
        journal = Journal(bucket, study.name, writer, reader.next_number, Snapshotter(bucket, state), metrics)
        opened = Opened(
            at=time.time(),
            term=state.term + 1,
            writer=writer,
            study=study,
            data=digest,
            direction=direction,
            start=cluster.start if cluster else "",
        )
        try:
            journal.write([opened])
        except FencedError:
            continue
        if state.trials:
            log.info("study %s goes on: %d trials, %d ended", study.name, len(state.trials), len(state.ended))
        state.apply(opened)
        return journal


def _check_begun(state: StudyState, study: Study, digest: str) -> None:
    if state.study is None:
        return
    check_resume(state.study, study)
    if state.data_digest != digest:
        raise UsageError(
            f"study {study.name!r} has begun with the data set {state.data_digest[:12]}, not {digest[:12]}; "
            "use that one, or choose another `name`."
        )


def find_data_set(bucket: Bucket, digest: str | None) -> str:
    """Return `digest`, or that of the bucket's only data set."""
    found = [digest] if digest else find_data_sets(bucket)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{bucket.url} has no data set; put one there with `cifake-tune data pack SOURCE BUCKET`.")
    raise UsageError(f"{bucket.url} has {len(found)} data sets; choose one with {names.ENV_DATA}.")


def nothing_to_search(state: StudyState, study: Study, cluster: Cluster | None) -> bool:
    """Say whether this chief has nothing to search.

    A search that gave up begins again when a person starts it again, having mended something, but not when Kubernetes
    replaces the pod of a chief that has said so: its workers are gone.
    """
    gave_up = state.finished is not None and state.finished.failed
    return state.is_over(study) or (gave_up and cluster is not None and state.start == cluster.start)


def _over(bucket: Bucket, state: StudyState, cluster: Cluster | None, shown: ChiefMonitor) -> StudyState:
    """Do what is left to do after a search."""
    shown.over(state)
    log.info("the search of study %s is over", state.settings.name)
    EventFiles(bucket, state).write()
    if not state.best():
        raise NoResultError(why_no_result(state))
    if cluster is not None:
        asyncio.run(shown.evaluate(cluster.evaluation_job))
    return state


async def _serve(
    service: Service,
    chores: Chores,
    address: Address,
    encryption: tls.Files | None,
    cluster: Cluster | None,
    shown: ChiefMonitor,
) -> None:
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
    listens_on = str(address)
    try:
        if encryption is None:
            port = server.add_insecure_port(listens_on)
        else:
            port = server.add_secure_port(listens_on, tls.server_credentials(encryption))
    except RuntimeError:
        raise SurroundingsError(
            f"the chief cannot listen on {listens_on}; is the port in use, or no such host here?"
        ) from None
    writing = asyncio.create_task(service.journal.run())
    watching = asyncio.create_task(service.journal.watch())
    await server.start()
    how = "with TLS" if encryption else "without TLS: whoever reaches it may join"
    log.info("chief of study %s, term %d, listens on port %d %s", *_identity(service), port, how)
    shown.serving(service)
    try:
        ticking = asyncio.create_task(_work(service, chores, cluster, shown))
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


def _identity(service: Service) -> tuple[str, int]:
    return service.oracle.state.settings.name, service.oracle.state.term


async def _work(service: Service, chores: Chores, cluster: Cluster | None, shown: ChiefMonitor) -> None:
    cleaning = asyncio.create_task(_clean(service, chores.models))
    drawing = asyncio.create_task(_draw(service, chores.curves))
    try:
        await _tick(service)
        await drawing
    finally:
        cleaning.cancel()
        drawing.cancel()
    if cluster and service.oracle.state.best():
        await shown.evaluate(cluster.evaluation_job)
    await asyncio.to_thread(lambda: chores.models.delete(chores.models.stale()))
    await shown.farewell()


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
            service.oracle.pardon(late_s)
        if not service.finished.is_set():
            await service.commit(service.oracle.expire(now()))
            service.roster.forget()
        elif service.roster.all_dismissed(service.oracle.state.settings.leases.duration_s):
            return
