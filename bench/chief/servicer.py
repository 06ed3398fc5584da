"""Cost of gRPC alone: a server that answers a worker's calls with a fixed trial, and decides and stores nothing.

It waits for a group commit of 50 ms, like the chief for its bucket, and is called by the same clients. Its rate on a
machine is the upper limit for a chief on grpc.aio.
"""

import asyncio
from typing import Any

import grpc
import grpc.aio
from keras_tuner.engine.hyperparameters import HyperParameters
from keras_tuner.src import protos

from tuner import names
from tuner.chief.trial_messages import Messages, bare_trial
from tuner.names import TrialId
from tuner.rpc import lease_service
from tuner.study.objective import Objective
from tuner.study.trial import Trial

COMMIT_S = 0.05
"""Duration of a simulated group commit, in seconds."""

_service = protos.get_service()


def serve(space: HyperParameters, trials: int, port: int) -> None:
    """Serve `trials` trials of a space, and then STOPPED, until the process is ended."""
    asyncio.run(_serve(Servicer(space, trials), port))


class Servicer:
    """The calls that a worker makes."""

    def __init__(self, space: HyperParameters, trials: int) -> None:
        self._messages = Messages(space, Objective("val_accuracy"))
        self._values = dict(space.values)
        self._trials = trials
        self._created = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def commit(self) -> None:
        """Repeat commits forever; each one releases the calls that were waiting when it began."""
        while True:
            served, self._waiting = self._waiting, []
            await asyncio.sleep(COMMIT_S)
            for waiter in served:
                waiter.set_result(None)

    async def create(self, request: Any, context: Any) -> Any:
        """Answer with the next trial."""
        if self._created == self._trials:
            return _service.CreateTrialResponse(trial=bare_trial("STOPPED"))
        self._created += 1
        trial = Trial(trial_id=TrialId(f"{self._created:05d}"), hyperparameters=self._values, algorithm={})
        await self._committed()
        context.set_trailing_metadata(((names.METADATA_ATTEMPT, "1"),))
        return _service.CreateTrialResponse(trial=self._messages.trial(trial, "RUNNING"))

    async def update(self, request: Any, context: Any) -> Any:
        """Answer a report."""
        await self._committed()
        return _service.UpdateTrialResponse(trial=bare_trial("RUNNING", request.trial_id))

    async def end(self, request: Any, context: Any) -> Any:
        """Answer the end of a trial."""
        await self._committed()
        return _service.EndTrialResponse()

    async def _committed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter


async def _serve(servicer: Servicer, port: int) -> None:
    async def join(request: bytes, context: Any) -> bytes:
        return b'{"incarnation": "1"}'

    async def beat(request: bytes, context: Any) -> bytes:
        return lease_service.Beat(held=True, next_s=20.0).model_dump_json().encode()

    server = grpc.aio.server(options=lease_service.SERVER_OPTIONS)
    calls = {
        "CreateTrial": (servicer.create, _service.CreateTrialRequest),
        "UpdateTrial": (servicer.update, _service.UpdateTrialRequest),
        "EndTrial": (servicer.end, _service.EndTrialRequest),
    }
    oracle = {
        name: grpc.unary_unary_rpc_method_handler(handle, request.FromString, lambda answer: answer.SerializeToString())
        for name, (handle, request) in calls.items()
    }
    lease = {name: grpc.unary_unary_rpc_method_handler(call) for name, call in (("Join", join), ("Heartbeat", beat))}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(_service.DESCRIPTOR.services_by_name["Oracle"].full_name, oracle),
            grpc.method_handlers_generic_handler(names.LEASE_SERVICE, lease),
        )
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await servicer.commit()
