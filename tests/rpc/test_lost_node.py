"""A chief whose node is gone closes no connection: its workers still find the next chief."""

import signal
import time

import grpc
import pytest

from tests.chaos.front import running_front
from tests.support.children import child
from tests.support.gcs_emulator import free_port
from tests.support.scrape import until
from tuner.rpc import lease_service
from tuner.worker.chief_client import CALL_TIMEOUT_S, ChiefClient

CHIEF = """
import asyncio, sys
import grpc.aio
from tuner.rpc import lease_service

async def heartbeat(request, context):
    return lease_service.Beat(held=True, next_s=1.0)

async def main():
    server = grpc.aio.server(options=lease_service.SERVER_OPTIONS)
    server.add_generic_rpc_handlers((lease_service.handlers({"Heartbeat": heartbeat}),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    print("listens", flush=True)
    await server.wait_for_termination()

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_worker_leaves_a_chief_that_falls_silent_for_the_next_one() -> None:
    beat = lease_service.Heartbeat(worker="a", incarnation="1")
    ports = free_port(), free_port()
    with running_front() as front, child(CHIEF, str(ports[0])) as lost, child(CHIEF, str(ports[1])) as next_:
        for chief in (lost, next_):
            assert chief.stdout is not None
            assert chief.stdout.readline() == "listens\n"
        front.add(ports[0])
        address = f"127.0.0.1:{front.port}"
        with grpc.insecure_channel(address, options=lease_service.OPTIONS) as channel:
            client = ChiefClient(channel, address, "a", "1", lambda: None)
            assert client.heartbeat(beat) is not None
            lost.send_signal(signal.SIGSTOP)
            front.add(ports[1])
            began = time.monotonic()
            assert client.heartbeat(beat) is None
            assert time.monotonic() - began < CALL_TIMEOUT_S  # it was the connection that was given up, not the call
            until("the next chief's answer", lambda: client.heartbeat(beat))  # on a busy machine not at once
