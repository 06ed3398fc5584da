"""Workers that wait for a trial: which gets the next one, and that all are answered."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from keras_tuner.src import protos

from tests.support.service import Chief, finish, stub_of, take, with_chief
from tuner import names
from tuner.rpc import lease_service


async def give_back(channel: grpc.aio.Channel, trial: Any, failing_s: float | None = None) -> None:
    """Give back what worker w1 has. If `failing_s` is set, the bucket has failed for so long."""
    outcome = "preempted" if failing_s is None else "lost"
    back = lease_service.GiveBack(
        worker="w1",
        incarnation="1",
        trial=trial.trial_id,
        attempt=1,
        outcome=outcome,
        reason="why",
        failing_s=failing_s,
    )
    await channel.unary_unary(f"/{names.LEASE_SERVICE}/GiveBack")(back.model_dump_json().encode())


def test_an_idle_worker_waits_until_there_is_work(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trials = [await take(stub, f"w{number}") for number in range(3)]
        idle = asyncio.create_task(take(stub, "idle"))
        await asyncio.sleep(0.3)
        assert not idle.done()
        await give_back(channel, trials[1])
        assert (await idle).trial_id == trials[1].trial_id

    with_chief(tmp_path, talk)


@pytest.mark.parametrize(
    ("failing_s", "cause", "level"), [(None, "preempted", "INFO"), (5.0, "environment", "WARNING")]
)
def test_the_chief_logs_whose_attempt_ended_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failing_s: float | None, cause: str, level: str
) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        trials = [await take(stub_of(channel), f"w{number}") for number in range(2)]
        with caplog.at_level("INFO"):
            await give_back(channel, trials[1], failing_s)
        assert [(record.levelname, record.message) for record in caplog.records if "ended" in record.message] == [
            (level, f"trial {trials[1].trial_id}: attempt 1 of w1 ended, {cause}: why")
        ]

    with_chief(tmp_path, talk)


def test_a_call_that_comes_while_a_suggestion_is_put_away_does_not_stop_the_chief(tmp_path: Path) -> None:
    """Sixteen clients call repeatedly: one whose suggestion has been taken waits, and the others continue."""

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)

        async def client(name: str) -> int:
            done = 0
            while (trial := await take(stub, name)).status == protos.get_proto().TrialStatus.RUNNING:
                await finish(stub, trial, name)
                done += 1
            return done

        assert sum(await asyncio.gather(*(client(f"w{number}") for number in range(16)))) == 300

    with_chief(tmp_path, talk, trials=300)


def test_a_queued_trial_wakes_one_of_the_workers_that_wait(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trials = [await take(stub, f"w{number}") for number in range(3)]
        idle = [asyncio.create_task(take(stub, f"idle{number}")) for number in range(50)]
        while len(chief.service.workers.entries) < 53:
            await asyncio.sleep(0.01)
        grants = []
        grant = chief.service.oracle.grant

        def counted(*arguments: Any) -> Any:
            grants.append(arguments)
            return grant(*arguments)

        chief.service.oracle.grant = counted  # type: ignore[method-assign,assignment]
        await give_back(channel, trials[1])
        done, _ = await asyncio.wait(idle, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().trial_id for task in done] == [trials[1].trial_id]
        assert len(grants) <= 2
        for task in idle:
            task.cancel()

    with_chief(tmp_path, talk)


def test_the_turn_of_a_worker_that_went_away_is_anothers(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trials = [await take(stub, f"w{number}") for number in range(3)]
        await give_back(channel, trials[1])
        dispatcher = chief.service.dispatcher
        goes, stays = (asyncio.create_task(dispatcher.wait(20)) for _ in range(2))
        while len(dispatcher._waiting) < 2:
            await asyncio.sleep(0)
        dispatcher.wake()
        goes.cancel()  # in the same turn of the loop
        began = time.monotonic()
        await stays
        assert time.monotonic() - began < 10
        with pytest.raises(asyncio.CancelledError):
            await goes

    with_chief(tmp_path, talk)


def test_a_thousand_workers_that_come_while_the_chief_is_busy_are_all_answered(tmp_path: Path) -> None:
    """gRPC's own bound on calls that no coroutine has taken up yet is 1,000; above it, it cancels at random."""

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        def beats() -> int:
            with grpc.insecure_channel(f"127.0.0.1:{chief.port}") as other:
                call = other.unary_unary(f"/{names.LEASE_SERVICE}/Heartbeat")
                beat = lease_service.Heartbeat(worker="w", incarnation="1").model_dump_json().encode()
                return sum(bool(answer.result()) for answer in [call.future(beat) for _ in range(2500)])

        answered = asyncio.get_running_loop().run_in_executor(None, beats)
        await asyncio.sleep(0.05)
        time.sleep(1.0)
        assert await answered == 2500

    with_chief(tmp_path, talk)
