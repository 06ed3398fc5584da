"""The chief's services over real gRPC: clients that disconnect during a call, and requests that are not valid."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from keras_tuner.src import protos

from tests.support.service import STUDY, Chief, completed, finish, messages, metadata, stub_of, take, with_chief
from tuner import names
from tuner.chief.clock import now
from tuner.chief.journal_writer import JournalWriter
from tuner.rpc import lease_service
from tuner.search.claims import Instant
from tuner.search.suggester import NoSuggestion, Suggester, Suggestion
from tuner.study.journal import JournalReader, read_study
from tuner.study.records import TrialState
from tuner.study.trial import Trial


def test_a_worker_that_goes_away_while_its_trial_is_suggested_loses_nothing(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        suggest, waiting = chief.suggester.suggest, threading.Event()

        def slowly() -> Suggestion | NoSuggestion:
            waiting.wait(20)
            return suggest()

        chief.suggester.suggest = slowly  # type: ignore[method-assign]
        stub = stub_of(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await take(stub, timeout=0.2)
        waiting.set()
        for _ in range(3):
            await finish(stub, await take(stub))
        assert (await take(stub)).status == protos.get_proto().TrialStatus.STOPPED

    chief = with_chief(tmp_path, talk)
    trials = read_study(chief.bucket, STUDY.name).trials.values()
    assert [(trial.trial_id, trial.state) for trial in trials] == [
        (f"0000{number}", TrialState.COMPLETED) for number in range(3)
    ]


def test_the_search_ends_though_the_last_worker_went_away_before_its_answer(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        for _ in range(2):
            await finish(stub, await take(stub))
        last = await take(stub)
        chief.service.oracle.exhausted = True
        report = messages.UpdateTrialRequest(trial_id=last.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        await stub.UpdateTrial(report, metadata=metadata(1))
        chief.bucket.delay_s = 0.5
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.EndTrial(messages.EndTrialRequest(trial=completed(last)), metadata=metadata(1), timeout=0.1)
        await chief.service.finished.wait()

    chief = with_chief(tmp_path, talk)
    assert read_study(chief.bucket, STUDY.name).finished is not None


def test_a_slow_suggestion_is_begun_when_a_trial_ends_and_knows_its_result(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        suggest, known = chief.suggester.suggest, []

        def watched() -> Suggestion | NoSuggestion:
            known.append([trial.status for trial in chief.suggester._oracle.trials.values()])
            return suggest()

        chief.suggester.suggest = watched  # type: ignore[method-assign]
        chief.suggester.slow = True
        stub = stub_of(channel)
        await finish(stub, await take(stub))
        while len(chief.state.trials) < 2:  # requested by no worker
            await asyncio.sleep(0.01)
        assert chief.state.trials[names.TrialId("00001")].state is TrialState.QUEUED
        assert known == [[], ["COMPLETED"]]
        assert (await take(stub)).trial_id == "00001"
        assert known == [[], ["COMPLETED"]]  # and no more of them than workers that have ended a trial

    with_chief(tmp_path, talk)


def test_a_create_that_is_answered_is_durable(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        trial = await take(stub_of(channel))
        kept = read_study(chief.bucket, STUDY.name).trials[trial.trial_id]
        assert (kept.state, kept.attempts, kept.worker) == (TrialState.RUNNING, 1, "w0")

    with_chief(tmp_path, talk)


def test_what_is_asked_twice_is_answered_when_the_first_is_durable(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        await take(stub, "other")  # the space is known, the journal is at rest
        chief.bucket.delay_s = 0.5

        def kept() -> Trial:
            return read_study(chief.bucket, STUDY.name).trials[names.TrialId("00001")]

        with pytest.raises(grpc.aio.AioRpcError):
            await take(stub, timeout=0.1)
        trial = await take(stub)
        assert kept().state is TrialState.RUNNING
        report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.UpdateTrial(report, metadata=metadata(1), timeout=0.1)
        await stub.UpdateTrial(report, metadata=metadata(1))
        assert 0 in kept().epochs
        end = messages.EndTrialRequest(trial=completed(trial))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.EndTrial(end, metadata=metadata(1), timeout=0.1)
        await stub.EndTrial(end, metadata=metadata(1))
        assert kept().state is TrialState.COMPLETED

    with_chief(tmp_path, talk)


def test_a_trial_that_is_given_back_after_its_end_is_answered_when_the_end_is_durable(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trial = await take(stub)
        report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        await stub.UpdateTrial(report, metadata=metadata(1))
        chief.bucket.delay_s = 0.5
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.EndTrial(messages.EndTrialRequest(trial=completed(trial)), metadata=metadata(1), timeout=0.1)
        back = lease_service.GiveBack(
            worker="w0", incarnation="1", trial=trial.trial_id, attempt=1, outcome="preempted", reason="asked to"
        )
        await channel.unary_unary(f"/{names.LEASE_SERVICE}/GiveBack")(back.model_dump_json().encode())
        assert read_study(chief.bucket, STUDY.name).trials[trial.trial_id].state is TrialState.COMPLETED

    with_chief(tmp_path, talk)


def test_a_suggestion_that_fails_is_the_chiefs_failure(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        def fail(self: Suggester) -> None:
            raise ValueError("the matrix is singular")

        chief.suggester.suggest = fail.__get__(chief.suggester)  # type: ignore[method-assign]
        with pytest.raises(grpc.aio.AioRpcError):
            await take(stub_of(channel))
        with pytest.raises(ValueError, match="singular"):
            await chief.service.dispatcher.broken

    with_chief(tmp_path, talk)


@pytest.mark.parametrize(
    ("method", "request_", "numbers", "code"),
    [
        ("EndTrial", messages.EndTrialRequest(), 1, grpc.StatusCode.NOT_FOUND),
        ("UpdateTrial", messages.UpdateTrialRequest(trial_id="../x", step=1), 1, grpc.StatusCode.NOT_FOUND),
        ("UpdateTrial", messages.UpdateTrialRequest(trial_id="00000"), 7, grpc.StatusCode.FAILED_PRECONDITION),
        ("UpdateTrial", messages.UpdateTrialRequest(trial_id="00000"), 1, grpc.StatusCode.INVALID_ARGUMENT),
        ("GetTrial", messages.GetTrialRequest(trial_id="9"), 1, grpc.StatusCode.NOT_FOUND),
        ("CreateTrial", messages.CreateTrialRequest(), 1, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(tmp_path, method, request_, numbers, code) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        await take(stub)
        state_before = repr(chief.state)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await getattr(stub, method)(request_, metadata=metadata(numbers))
        assert refused.value.code() is code
        assert repr(chief.state) == state_before

    with_chief(tmp_path, talk)


def test_a_worker_cannot_name_another_object_as_its_model(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        trial = await take(stub)
        report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        foreign = [*metadata(1), (names.METADATA_CHECKPOINT, "data/0/manifest.json")]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.UpdateTrial(report, metadata=foreign)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        own = names.checkpoint(STUDY.name, trial.trial_id, 1, 0)
        await stub.UpdateTrial(report, metadata=[*metadata(1), (names.METADATA_CHECKPOINT, own)])
        assert chief.state.trials[trial.trial_id].checkpoints == {0: own}

    with_chief(tmp_path, talk)


def test_garbage_for_the_lease_service_is_an_invalid_argument(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        for data in (b"", b"\xff\x00", b"[]", b'{"worker": ""}', b'{"worker": "a", "more": "incarnation"}'):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary(f"/{names.LEASE_SERVICE}/Join")(data)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    with_chief(tmp_path, talk)


def test_a_report_that_stops_a_trial_is_answered_with_stopped_when_both_are_durable(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub = stub_of(channel)
        answers = []
        for number, value in enumerate((0.6, 0.7, 0.5)):
            trial = await take(stub, f"w{number}")
            report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": value}, step=0)
            for _ in range(2):  # the second time as if the first answer were lost
                answer = await stub.UpdateTrial(report, metadata=metadata(1, f"w{number}"))
                answers.append(protos.get_proto().TrialStatus.Name(answer.trial.status))
        assert answers == ["RUNNING"] * 4 + ["STOPPED"] * 2
        kept = read_study(chief.bucket, STUDY.name)
        assert kept == chief.state
        assert kept.trials[trial.trial_id].reason == "rung 0 (epoch 1): val_accuracy 0.5000 is not the best of 3"
        await stub.EndTrial(messages.EndTrialRequest(trial=completed(trial)), metadata=metadata(1, "w2"))
        assert read_study(chief.bucket, STUDY.name) == kept

    with_chief(tmp_path, talk)


# ---- Keras Tuner's own workers, which send only a trial's id ------------------------------------------
async def refused(stub: Any, request: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub(request, timeout=20)
    return error.value.code()


async def restart(chief: Chief) -> None:
    """Let another chief take over, which knows the journal alone."""
    await chief.stop()
    reader = JournalReader(chief.bucket, STUDY.name)
    reader.poll()
    chief.state = reader.state
    chief.journal = JournalWriter(chief.bucket, STUDY.name, "w2", reader.next_number)
    await chief.start()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_stock_worker_that_lost_its_trial_cannot_report_into_anothers_attempt(
    tmp_path: Path, restarted: bool
) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        async def stock_take(name: str) -> Any:
            return (await stub_of(channel).CreateTrial(messages.CreateTrialRequest(tuner_id=name), timeout=20)).trial

        first = await stock_take("tuner0")
        hour_later = Instant(now().at, now().monotonic + 3601)
        await chief.service.commit(chief.service.oracle.expire(hour_later))
        second = await stock_take("tuner1")
        assert (first.trial_id, second.trial_id) == ("00000", "00000~2")
        if restarted:
            await restart(chief)
        # both use a connection that is new to the chief
        async with grpc.aio.insecure_channel(f"127.0.0.1:{chief.port}", [("grpc.use_local_subchannel_pool", 1)]) as new:
            stub, state_before = stub_of(new), repr(chief.state)
            late = messages.UpdateTrialRequest(trial_id=first.trial_id, metrics={"val_accuracy": 0.9}, step=0)
            assert await refused(stub.UpdateTrial, late) is grpc.StatusCode.FAILED_PRECONDITION
            end = messages.EndTrialRequest(trial=completed(first))
            assert await refused(stub.EndTrial, end) is grpc.StatusCode.FAILED_PRECONDITION
            assert repr(chief.state) == state_before
            report = messages.UpdateTrialRequest(trial_id=second.trial_id, metrics={"val_accuracy": 0.5}, step=0)
            assert (await stub.UpdateTrial(report, timeout=20)).trial.trial_id == second.trial_id
            await stub.EndTrial(messages.EndTrialRequest(trial=completed(second)), timeout=20)
            assert await refused(stub.EndTrial, end) is grpc.StatusCode.FAILED_PRECONDITION
            unknown = messages.UpdateTrialRequest(trial_id="00009~2", metrics={"val_accuracy": 0.5}, step=0)
            assert await refused(stub.UpdateTrial, unknown) is grpc.StatusCode.NOT_FOUND
        ended = chief.state.trials[names.TrialId("00000")]
        assert (ended.state, ended.worker, ended.score) == (TrialState.COMPLETED, "tuner1", 0.5)

    with_chief(tmp_path, talk)


def test_a_trial_is_found_by_either_id_and_is_called_as_the_worker_that_saved_its_model_knows_it(
    tmp_path: Path,
) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub, create = stub_of(channel), messages.CreateTrialRequest(tuner_id="tuner0")
        for _ in range(2):  # the second time as if it were restarted
            trial = (await stub.CreateTrial(create, timeout=20)).trial
        await stub.UpdateTrial(
            messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0), timeout=20
        )
        for trial_id in ("00000", "00000~2"):
            trial = (await stub.GetTrial(messages.GetTrialRequest(trial_id=trial_id), timeout=20)).trial
            assert (trial.trial_id, list(trial.metrics.metrics)) == (trial_id, ["val_accuracy"])
        await stub.EndTrial(messages.EndTrialRequest(trial=completed(trial)), timeout=20)
        kept = chief.state.trials[names.TrialId("00000")]
        kept.checkpoints[0] = "as if it had saved its model with us"
        (best,) = (await stub.GetBestTrials(messages.GetBestTrialsRequest(num_trials=1), timeout=20)).trials
        assert best.trial_id == "00000~2"
        # hyperband's next rung: Keras Tuner loads what it saved under the parent's id
        chief.service.oracle.add(
            Suggestion(names.TrialId("00001"), {"units": 1, "tuner/trial_id": "00000", "tuner/initial_epoch": 1}, {}),
            now(),
        )
        child = (await stub.CreateTrial(create, timeout=20)).trial
        assert child.hyperparameters.values.values["tuner/trial_id"].string_value == "00000~2"

    with_chief(tmp_path, talk)
