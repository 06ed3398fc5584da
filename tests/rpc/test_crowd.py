"""The chief serves thousands of idle workers, and forgets callers that died without closing their connection."""

import asyncio
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest

from tests.support.children import child
from tests.support.service import Chief, messages, stub_of, take, with_chief
from tuner import names
from tuner.chief.service import LONG_POLL_S
from tuner.config.settings import Leases
from tuner.rpc import lease_service

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

IDLE = 10_000
CONNECTIONS = 100
MEMORY_EACH_KIB = 64
LEASE_S = Leases().duration_s

CHIEF = """
import asyncio, sys
from pathlib import Path
from tests.support.service import Chief

async def main():
    chief = Chief(Path(sys.argv[1]))
    await chief.start()
    print(chief.port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_ten_thousand_idle_workers_wait_and_others_are_answered_meanwhile(tmp_path: Path) -> None:
    async def crowd(port: int, pid: int) -> None:
        options = [*lease_service.OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) for _ in range(CONNECTIONS)]
        for number in range(3):
            await take(stub_of(channels[0]), f"holder{number}")
        before_kib = resident_kib(pid)
        waiting = [
            asyncio.ensure_future(take(stub_of(channels[number % CONNECTIONS]), f"idle{number}", timeout=120))
            for number in range(IDLE)
        ]
        ask = channels[0].unary_unary(f"/{names.LEASE_SERVICE}/Heartbeat")
        beat = (
            lease_service.Heartbeat(worker="holder0", incarnation="1", trial="00000", attempt=1)
            .model_dump_json()
            .encode()
        )
        assert b'"held":true' in await ask(beat, timeout=LEASE_S)  # though it comes behind all of them
        grown_kib = resident_kib(pid) - before_kib
        failed = [call.exception() for call in waiting if call.done() and call.exception()]
        assert not failed, failed[0]
        assert grown_kib < IDLE * MEMORY_EACH_KIB
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in channels), return_exceptions=True)

    with child(CHIEF, str(tmp_path)) as process:
        assert process.stdout is not None
        asyncio.run(crowd(int(process.stdout.readline()), process.pid))


CALLER = """
import sys
import grpc
channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/keras_tuner.Oracle/CreateTrial").future(bytes.fromhex(sys.argv[2]))
print("asked", flush=True)
call.result()
"""


def test_callers_whose_machines_died_without_a_word_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = dict(lease_service.SERVER_OPTIONS) | {"grpc.keepalive_time_ms": 1000, "grpc.http2.ping_timeout_ms": 1000}
    monkeypatch.setattr(lease_service, "SERVER_OPTIONS", list(quick.items()))

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        for number in range(3):
            await take(stub_of(channel), f"holder{number}")
        request = messages.CreateTrialRequest(tuner_id="dead").SerializeToString().hex()
        with ExitStack() as stack:
            callers = [stack.enter_context(child(CALLER, f"127.0.0.1:{chief.port}", request)) for _ in range(5)]
            while chief.service.dispatcher.waiting < len(callers):
                await asyncio.sleep(0.05)
            for caller in callers:
                os.kill(caller.pid, signal.SIGSTOP)  # its kernel still answers, as a dead machine's would not
            died = time.monotonic()
            while chief.service.dispatcher.waiting:
                await asyncio.sleep(0.05)
            assert time.monotonic() - died < LONG_POLL_S / 2
        await stub_of(channel).GetSpace(messages.GetSpaceRequest())  # the others are served

    with_chief(tmp_path, talk, timeout_s=60)
