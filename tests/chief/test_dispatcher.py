"""Suggestions and the workers that wait for them, if something fails in between."""

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import grpc.aio
import pytest
from keras_tuner.src import protos

from tests.search.played_search import promoting
from tests.search.test_early_stopping import epochs
from tests.search.test_oracle import A, add
from tests.search.test_oracle import take as oracle_take
from tests.search.test_promotion import STOCK, paused_at_first_rung
from tests.support.service import STUDY, Chief, finish, stub_of, take, with_chief
from tuner.chief import server
from tuner.chief.clock import now
from tuner.chief.dispatcher import Dispatcher
from tuner.chief.server import TICK_S, _tick
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim
from tuner.search.leases import Worker
from tuner.search.suggester import NoSuggestion, Suggester, Suggestion
from tuner.study.journal import read_records
from tuner.study.records import Finished, Outcome, Record, TrialState

STOPPED = protos.get_proto().TrialStatus.STOPPED


def test_a_suggestion_that_comes_after_the_search_was_given_up_makes_no_trial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub, suggest, gate, requested = stub_of(channel), chief.suggester.suggest, threading.Event(), threading.Event()
        failing = [await take(stub, f"w{number}") for number in range(3)]

        def slowly() -> Suggestion | NoSuggestion:
            requested.set()
            gate.wait(20)
            return suggest()

        chief.suggester.suggest = slowly  # type: ignore[method-assign]
        idle = asyncio.create_task(take(stub, "idle"))
        await asyncio.to_thread(requested.wait, 20)
        oracle = chief.service.oracle
        for number, trial in enumerate(failing):
            attempt = AttemptClaim(Worker(f"w{number}", "1"), trial.trial_id, 1)
            await chief.service.commit(
                oracle.give_back(attempt, Outcome.INVALID, f"boom\nTraceback of w{number}", now())
            )
        assert chief.state.finished
        gate.set()
        assert (await idle).status == STOPPED

    chief = with_chief(tmp_path, talk, trials=10)
    assert isinstance(list(read_records(chief.bucket, STUDY.name))[-1], Finished)
    [record] = [r for r in caplog.records if "the search has finished" in r.message]
    assert (record.levelname, record.message.splitlines()[-1]) == ("ERROR", "Traceback of w0")
    assert {trial.state for trial in chief.state.trials.values()} == {TrialState.FAILED}


def test_an_algorithm_that_looks_further_is_asked_again_at_once(tmp_path: Path) -> None:
    unfinished = [NoSuggestion.CONTINUE] * 3

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        suggest = chief.suggester.suggest
        chief.suggester.suggest = lambda: unfinished.pop() if unfinished else suggest()  # type: ignore[method-assign]
        await asyncio.wait_for(chief.service.dispatcher.wait(60), 30)
        assert chief.service.oracle.queued == 1

    with_chief(tmp_path, talk)
    assert not unfinished


def test_an_algorithm_that_cannot_take_a_result_is_the_chiefs_failure(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        def fail(*_: object) -> None:
            raise ValueError("no such trial")

        chief.suggester.ended = fail  # type: ignore[method-assign,assignment]
        stub = stub_of(channel)
        await finish(stub, await take(stub))
        with pytest.raises(grpc.aio.AioRpcError):
            await take(stub)
        with pytest.raises(ValueError, match="no such trial"):
            await chief.service.dispatcher.broken

    with_chief(tmp_path, talk)


def test_a_chief_that_stood_still_does_not_take_its_workers_for_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STOPPED_S", 0.3)
    study = load(settings=["search.max_trials=3", "leases.duration_s=1.0"])

    async def main() -> None:
        chief = Chief(tmp_path, study)
        await chief.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{chief.port}") as channel:
            trial = chief.state.trials[(await take(stub_of(channel))).trial_id]
            ticking = asyncio.create_task(_tick(chief.service))
            await asyncio.sleep(0)
            time.sleep(1.5)  # as after SIGSTOP or a live migration: no heartbeat can arrive
            await asyncio.sleep(2 * TICK_S)
            assert trial.state is TrialState.RUNNING
            while trial.state is TrialState.RUNNING:  # a worker that stays silent still loses its trial
                await asyncio.sleep(0.05)
            ticking.cancel()
        await chief.stop()

    asyncio.run(asyncio.wait_for(main(), 30))


class Numbered:
    """Suggests trials by number."""

    slow = False

    def __init__(self, first: int) -> None:
        self._numbers = itertools.count(first)

    def suggest(self) -> Suggestion:
        return Suggestion(TrialId(f"{next(self._numbers):05d}"), {}, {})


def test_a_stock_worker_gets_a_new_trial_although_a_paused_one_waits_for_another_worker() -> None:
    async def talk() -> None:
        async def commit(_: Sequence[Record]) -> None:
            pass

        chief = promoting()
        paused_at_first_rung(chief, 0.5, 0.7)
        add(chief, 2)
        epochs(chief, oracle_take(chief, A), 0.6)
        assert chief.queued == 1
        dispatcher = Dispatcher(chief, cast(Suggester, Numbered(3)), now, lambda _: None, commit)
        stock = asyncio.create_task(dispatcher.wait(60, stock=True))
        own = asyncio.create_task(dispatcher.wait(60))
        await asyncio.wait_for(asyncio.gather(stock, own), 30)
        assert chief.grant(STOCK, now())[0] is chief.state.trials[TrialId("00003")]
        assert chief.grant(A, now())[0] is chief.state.trials[TrialId("00001")]

    asyncio.run(talk())


def test_a_paused_trial_wakes_a_worker_that_can_resume_it() -> None:
    async def talk() -> None:
        async def commit(_: Sequence[Record]) -> None:
            pass

        chief = promoting(trials=3)
        paused_at_first_rung(chief, 0.5, 0.7)
        add(chief, 2)
        epochs(chief, oracle_take(chief, A), 0.6)
        chief.exhausted = True
        dispatcher = Dispatcher(chief, cast(Suggester, Numbered(3)), now, lambda _: None, commit)
        stock, own = (asyncio.create_task(dispatcher.wait(60, stock=stock)) for stock in (True, False))
        while dispatcher.waiting < 2:
            await asyncio.sleep(0)
        dispatcher.wake()
        await asyncio.wait_for(own, 30)
        assert not stock.done()
        stock.cancel()

    asyncio.run(talk())
