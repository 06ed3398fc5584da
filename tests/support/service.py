"""The chief's services on a real port, in the event loop of a test, without Keras models or processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import keras_tuner
from keras_tuner.src import protos
from prometheus_client import CollectorRegistry

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.clock import now
from tuner.chief.grpc_server import make_server
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.metrics import JournalMetrics, ServiceMetrics
from tuner.chief.service import Service
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.rpc.tls import Files, server_credentials
from tuner.search.oracle import Oracle
from tuner.search.suggester import make_suggester
from tuner.study.objective import Objective
from tuner.study.records import Opened
from tuner.study.state import StudyState

# random: a slow algorithm suggests trials before a worker waits for one
STUDY = load(settings=["search.max_trials=3", "search.algorithm=random"])
messages = protos.get_service()


class SlowBucket(LocalBucket):
    """A bucket whose journal takes its time."""

    delay_s = 0.0

    def create(self, name: str, data: bytes) -> None:
        time.sleep(self.delay_s)
        super().create(name, data)


class Chief:
    """A service on a real port, in the loop of the test."""

    port = 0

    def __init__(self, folder: Path, study: Study = STUDY, files: Files | None = None) -> None:
        self.files = files
        self.bucket = SlowBucket(folder / "bucket")
        self.state = StudyState()
        opened = Opened(at=0, term=1, writer="w", study=study, data="d", direction="max")
        self.state.apply(opened)
        self.registry = CollectorRegistry()
        self.metrics = ServiceMetrics(self.registry)
        self.journal = JournalWriter(self.bucket, STUDY.name, "w", 1, metrics=JournalMetrics(self.registry))
        self.journal.write([opened])
        space = keras_tuner.HyperParameters()
        space.Int("units", 1, 100_000)
        self.suggester = make_suggester(study, space, Objective("val_accuracy"))
        self.space = space

    async def start(self) -> None:
        oracle = Oracle(self.state, now())
        self.service = Service(oracle, self.suggester, self.space, self.journal, self.metrics)
        self.server = make_server(self.service)
        address = "127.0.0.1:0"
        if self.files is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, server_credentials(self.files))
        self.writing = asyncio.create_task(self.journal.run())
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(0)
        self.journal.close()
        await self.writing


def with_chief(
    folder: Path,
    talk: Callable[[Chief, grpc.aio.Channel], Awaitable[None]],
    trials: int = 3,
    timeout_s: float = 30,
) -> Chief:
    """Run a chief whose search has so many trials, and talk to it; return it when both are over."""

    async def main() -> Chief:
        chief = Chief(folder, load(recorded=STUDY, settings=[f"search.max_trials={trials}"]))
        await chief.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{chief.port}") as channel:
                await asyncio.wait_for(talk(chief, channel), timeout_s)
        finally:
            await chief.stop()
        return chief

    return asyncio.run(main())


def metadata(attempt: int | None = None, worker: str = "w0") -> list[tuple[str, str]]:
    identity = [(names.METADATA_WORKER, worker), (names.METADATA_INCARNATION, "1")]
    return identity if attempt is None else [*identity, (names.METADATA_ATTEMPT, str(attempt))]


async def take(stub, worker: str = "w0", timeout: float = 20):
    request = messages.CreateTrialRequest(tuner_id=worker)
    return (await stub.CreateTrial(request, metadata=metadata(worker=worker), timeout=timeout)).trial


def stub_of(channel: grpc.aio.Channel):
    return protos.get_service_grpc().OracleStub(channel)


async def finish(stub, trial, worker: str = "w0", timeout: float = 20) -> None:
    report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
    await stub.UpdateTrial(report, metadata=metadata(1, worker), timeout=20)
    await stub.EndTrial(messages.EndTrialRequest(trial=completed(trial)), metadata=metadata(1, worker), timeout=timeout)


def completed(trial):
    trial.status = protos.get_proto().TrialStatus.COMPLETED
    return trial
