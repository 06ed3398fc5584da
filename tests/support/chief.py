"""A real chief's services on loopback, in a thread of the test: it can go away, and come back from its journal."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import keras_tuner

from tests.support.gcs_emulator import free_port
from tuner.bucket import Bucket
from tuner.chief.clock import now
from tuner.chief.grpc_server import make_server
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.request_handler import RequestHandler
from tuner.chief.service import Service
from tuner.config.settings import Study
from tuner.rpc.tls import Files, server_credentials
from tuner.search.claims import Instant
from tuner.search.oracle import Oracle
from tuner.search.suggester import make_suggester, objective_of
from tuner.study.journal import JournalReader
from tuner.study.records import Opened
from tuner.study.state import StudyState
from tuner.study.status import WorkerStatus

Answer = TypeVar("Answer")


class RunningChief:
    """Serves `study` from `bucket`; `start` and `stop` as often as wanted, each start being a new term."""

    def __init__(self, bucket: Bucket, study: Study, space: keras_tuner.HyperParameters, data: str = "d") -> None:
        self.port = free_port()
        self.files: Files | None = None
        """TLS files from the next start on."""
        self.spare: int | None = None
        """Number of idle workers that stay at the end, from the next start on; None if all stay."""
        self.handles_requests = False
        """Whether it handles the requests of users, from the next start on."""
        self._data = data
        self.bucket = bucket
        self.study = study
        self._space = space
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chief", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def state(self) -> StudyState:
        """Its state, to look at."""
        return self.service.oracle.state

    def start(self) -> None:
        """Open a term and listen."""
        self.do(self._start())

    def stop(self) -> None:
        """Be gone, with all that was taken written."""
        self.do(self._stop())

    def expire(self) -> None:
        """End every lease, as if its worker had been silent for too long."""

        async def expire() -> None:
            tomorrow = Instant(now().at, now().monotonic + 86_400)
            await self.service.commit(self.service.oracle.expire(tomorrow))

        self.do(expire())

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Take connections and calls in this block, and answer none."""
        wake, asleep = threading.Event(), threading.Event()

        async def sleep() -> None:
            asleep.set()
            wake.wait(60)

        sleeping = asyncio.run_coroutine_threadsafe(sleep(), self._loop)
        assert asleep.wait(10)
        try:
            yield
        finally:
            wake.set()
            sleeping.result(10)

    def ask(self, question: Callable[[StudyState], Answer]) -> Answer:
        """Return the answer to a question about the state, asked in the chief's own thread."""

        async def ask() -> Answer:
            return question(self.state)

        return self.do(ask())

    def stand_still(self, seconds: float) -> None:
        """Hear nobody for so long, as if stopped."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def waiting(self) -> int:
        """How many workers wait for a trial."""
        return self.ask(lambda _: len(self.service.dispatcher._waiting))

    def workers(self) -> list[WorkerStatus]:
        """What the workers do."""
        return self.ask(lambda _: self.service.workers.status())

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run this in the chief's own thread, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        reader = JournalReader(self.bucket, self.study.name)
        reader.poll()
        state, writer, objective = reader.state, f"chief-{reader.state.term + 1}", objective_of(self.study.search)
        opened = Opened(
            at=0,
            term=state.term + 1,
            writer=writer,
            study=self.study,
            data=self._data,
            direction=objective.direction,
        )
        journal = JournalWriter(self.bucket, self.study.name, writer, reader.next_number)
        journal.write([opened])
        state.apply(opened)
        suggester = make_suggester(self.study, self._space, objective)
        suggester.restore(state)
        self.service = Service(Oracle(state, now()), suggester, self._space, journal, spare=self.spare)
        self._server = make_server(self.service)
        if self.files is None:
            assert self._server.add_insecure_port(self.address) == self.port
        else:
            assert self._server.add_secure_port(self.address, server_credentials(self.files)) == self.port
        self._writing = asyncio.create_task(journal.run())
        handler = RequestHandler(self.service, self.bucket)
        self._handling = asyncio.create_task(handler.run()) if self.handles_requests else None
        await self._server.start()

    async def _stop(self) -> None:
        if self._handling:
            self._handling.cancel()
        await self._server.stop(0)
        self.service.journal.close()
        await self._writing


@contextlib.contextmanager
def running_chief(
    bucket: Bucket,
    study: Study,
    space: keras_tuner.HyperParameters,
    data: str = "d",
    *,
    handles_requests: bool = False,
) -> Iterator[RunningChief]:
    """Run a chief until the end of the block; `data` is the digest of the data set that it names to workers."""
    chief = RunningChief(bucket, study, space, data)
    chief.handles_requests = handles_requests
    chief.start()
    try:
        yield chief
    finally:
        with contextlib.suppress(Exception):
            chief.stop()
        chief.close()
