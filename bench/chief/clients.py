"""Simulated workers, which wait instead of training, without TensorFlow.

`threads` runs the clients of comparisons with bare Keras Tuner; both sides get the same calls. `swarm` runs up to
thousands of cifake-tune workers with heartbeats in one event loop.
"""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import grpc.aio
from keras_tuner.src import protos

from tuner import names
from tuner.rpc import lease_service

RUNNING, STOPPED = protos.get_proto().TrialStatus.RUNNING, protos.get_proto().TrialStatus.STOPPED
COMPLETED = protos.get_proto().TrialStatus.COMPLETED
CHANNELS = 50
"""Default number of connections that a swarm shares."""

_service = protos.get_service()


@dataclass
class Times:
    """Measurements of the workers: when trials ended (seconds, monotonic), and durations of calls (seconds)."""

    ended: list[float] = field(default_factory=list)
    create_s: list[float] = field(default_factory=list)
    report_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    beats: list[float] = field(default_factory=list)
    """Times of the responses to heartbeats (seconds, monotonic)."""


def threads(address: str, count: int, trials: int | None = None) -> Times:
    """Run `count` threads until the search has ended, or until `trials` trials are done."""
    times = Times()
    left: Iterator[int] = itertools.repeat(0) if trials is None else iter(range(trials))

    def work(number: int) -> None:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = protos.get_service_grpc().OracleStub(channel)
            identity = _identity(f"client-{number}")
            request = _service.CreateTrialRequest(tuner_id=f"client-{number}")
            while next(left, None) is not None:
                began = time.monotonic()
                answer, call = stub.CreateTrial.with_call(request, metadata=identity, timeout=600, wait_for_ready=True)
                if answer.trial.status == STOPPED:
                    return
                if answer.trial.status != RUNNING:
                    continue
                created = time.monotonic()
                attempt = dict(call.trailing_metadata()).get(names.METADATA_ATTEMPT, "1")
                metadata = (*identity, (names.METADATA_ATTEMPT, attempt))
                stub.UpdateTrial(_report(answer.trial), metadata=metadata, timeout=600)
                reported = time.monotonic()
                stub.EndTrial(_end(answer.trial), metadata=metadata, timeout=600)
                ended = time.monotonic()
                times.create_s.append(created - began)
                times.report_s.append(reported - created)
                times.end_s.append(ended - reported)
                times.ended.append(ended)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return times


async def swarm(address: str, count: int, train_s: float, connections: int = CHANNELS, epochs: int = 1) -> Times:
    """Run `count` workers, which wait `train_s` for each trial and report `epochs` epochs."""
    options = [*lease_service.OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options) for _ in range(min(connections, count))]
    times = Times()
    await asyncio.gather(
        *(
            _work(channels[number % len(channels)], f"worker-{number}", train_s, epochs, times)
            for number in range(count)
        )
    )
    for channel in channels:
        await channel.close()
    return times


async def _work(channel: grpc.aio.Channel, name: str, train_s: float, epochs: int, times: Times) -> None:
    stub = protos.get_service_grpc().OracleStub(channel)
    join = lease_service.Join(worker=name, incarnation="1").model_dump_json().encode()
    joined = await channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")(join, wait_for_ready=True, timeout=600)
    incarnation = json.loads(joined)["incarnation"]
    identity = _identity(name, incarnation)
    request = _service.CreateTrialRequest(tuner_id=name)
    beat = [lease_service.Heartbeat(worker=name, incarnation=incarnation)]
    beating = asyncio.create_task(_beat(channel, beat, times))
    while True:
        began = time.monotonic()
        call = stub.CreateTrial(request, metadata=identity, timeout=600)
        answer = await call
        if answer.trial.status == STOPPED:
            break
        if answer.trial.status != RUNNING:
            continue
        created = time.monotonic()
        attempt = dict(await call.trailing_metadata())[names.METADATA_ATTEMPT]
        metadata = (*identity, (names.METADATA_ATTEMPT, attempt))
        beat[0] = beat[0].model_copy(update={"trial": answer.trial.trial_id, "attempt": int(attempt)})
        await asyncio.sleep(train_s)
        trained = time.monotonic()
        for epoch in range(epochs):
            await stub.UpdateTrial(_report(answer.trial, epoch), metadata=metadata, timeout=600)
        reported = time.monotonic()
        await stub.EndTrial(_end(answer.trial), metadata=metadata, timeout=600)
        ended = time.monotonic()
        times.create_s.append(created - began)
        times.report_s.append(reported - trained)
        times.end_s.append(ended - reported)
        times.ended.append(ended)
    beating.cancel()


async def _beat(channel: grpc.aio.Channel, beat: list[lease_service.Heartbeat], times: Times) -> None:
    call = channel.unary_unary(f"/{names.LEASE_SERVICE}/Heartbeat")
    next_s = 1.0
    while True:
        await asyncio.sleep(next_s)
        next_s = lease_service.Beat.model_validate_json(
            await call(beat[0].model_dump_json().encode(), timeout=600)
        ).next_s
        times.beats.append(time.monotonic())


def _identity(name: str, incarnation: str = "1") -> tuple[tuple[str, str], ...]:
    return (names.METADATA_WORKER, name), (names.METADATA_INCARNATION, incarnation)


def _report(trial, epoch=0):
    score = sum(trial.trial_id.encode()) % 97 / 97
    return _service.UpdateTrialRequest(
        trial_id=trial.trial_id, metrics={"val_accuracy": score, "loss": 1.0}, step=epoch
    )


def _end(trial):
    trial.status = COMPLETED
    return _service.EndTrialRequest(trial=trial)
