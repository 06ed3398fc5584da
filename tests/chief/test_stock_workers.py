"""Keras Tuner's own workers: the same calls to its own chief and to ours, and what is said about another space.

docs/comparison.md gives the reason for each difference that a test here shows.
"""

from pathlib import Path

import grpc
import grpc.aio
import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial as KerasTrial

from tests.support.service import STUDY, Chief, messages, metadata, stub_of, take, with_chief
from tuner import names
from tuner.rpc import lease_service
from tuner.study.journal import read_study
from tuner.study.records import TrialState

pytestmark = pytest.mark.filterwarnings("ignore:currentThread|getName:DeprecationWarning")  # Keras Tuner's

NAN = float("nan")
Scores = list[float | None]


class Stock:
    """What Keras Tuner's client sends, to our chief."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = stub_of(channel)

    async def take(self, name: str = "tuner0") -> KerasTrial:
        answer = await self.stub.CreateTrial(messages.CreateTrialRequest(tuner_id=name), timeout=20)
        return KerasTrial.from_proto(answer.trial)

    async def end(self, trial: KerasTrial, status: str = "COMPLETED", score: float | None = None) -> None:
        if score is not None:
            report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": score}, step=0)
            await self.stub.UpdateTrial(report, timeout=20)
        trial.status = status
        await self.stub.EndTrial(messages.EndTrialRequest(trial=trial.to_proto()), timeout=20)

    async def best(self, count: int) -> list[KerasTrial]:
        answer = await self.stub.GetBestTrials(messages.GetBestTrialsRequest(num_trials=count), timeout=20)
        return [KerasTrial.from_proto(trial) for trial in answer.trials]


class Theirs:
    """The same with the oracle of Keras Tuner's own chief."""

    def __init__(self, folder: Path, retries: int = 0) -> None:
        space = keras_tuner.HyperParameters()
        space.Int("units", 1, 100_000)
        self.oracle = keras_tuner.oracles.RandomSearchOracle(
            keras_tuner.Objective("val_accuracy", "max"), max_trials=9, hyperparameters=space,
            max_retries_per_trial=retries,
        )  # fmt: skip
        self.oracle.verbose = 0
        self.oracle._set_project_dir(folder, "theirs")

    def take(self, name: str = "tuner0") -> KerasTrial:
        return self.oracle.create_trial(name)

    def end(self, trial: KerasTrial, status: str = "COMPLETED", score: float | None = None) -> None:
        if score is not None:
            self.oracle.update_trial(trial.trial_id, {"val_accuracy": score})
        trial.status = status
        self.oracle.end_trial(trial)

    def scores(self, count: int) -> Scores:
        return [trial.score for trial in self.oracle.get_best_trials(count)]


def test_the_best_trials_are_those_with_a_score_though_their_models_are_elsewhere(tmp_path: Path) -> None:
    theirs = Theirs(tmp_path)

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stock = Stock(channel)
        assert await stock.best(2) == []
        for score in (0.25, 0.75, 0.5):
            await stock.end(await stock.take(), score=score)
            theirs.end(theirs.take(), score=score)
        assert [trial.score for trial in await stock.best(2)] == theirs.scores(2) == [0.75, 0.5]
        assert chief.state.best(2) == []  # the evaluation needs a model

    with_chief(tmp_path, talk, trials=9)


def test_trials_without_a_score_are_not_among_the_best(tmp_path: Path) -> None:
    theirs = Theirs(tmp_path)

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stock = Stock(channel)
        await stock.end(await stock.take(), score=0.5)
        theirs.end(theirs.take(), score=0.5)
        await stock.take()
        theirs.take()
        assert [trial.score for trial in await stock.best(5)] == [0.5]
        assert theirs.scores(5) == [0.5, None]

    with_chief(tmp_path, talk, trials=9)


def test_a_worker_that_asks_twice_gets_the_same_trial_as_its_next_attempt(tmp_path: Path) -> None:
    theirs = Theirs(tmp_path)

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stock = Stock(channel)
        first, second = await stock.take(), await stock.take()
        assert (first.trial_id, second.trial_id) == ("00000", "00000~2")
        assert first.hyperparameters.values == second.hyperparameters.values
        assert theirs.take().trial_id == theirs.take().trial_id

    with_chief(tmp_path, talk, trials=9)


def test_an_interrupted_trial_with_a_saved_model_is_left_to_a_worker_that_can_resume_it(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        own, stock = stub_of(channel), Stock(channel)
        trial = await take(own)
        report = messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics={"val_accuracy": 0.5}, step=0)
        saved = (names.METADATA_CHECKPOINT, names.checkpoint(STUDY.name, names.TrialId("00000"), 1, 0))
        await own.UpdateTrial(report, metadata=[*metadata(1), saved], timeout=20)
        back = lease_service.GiveBack(
            worker="w0", incarnation="1", trial=trial.trial_id, attempt=1, outcome="preempted", reason="asked to"
        )
        await channel.unary_unary(f"/{names.LEASE_SERVICE}/GiveBack")(back.model_dump_json().encode())
        assert (await stock.take()).trial_id == "00001"
        assert (await take(own, "w1")).trial_id == "00000"
        assert chief.state.trials[names.TrialId("00000")].checkpoints == {0: saved[1]}

    with_chief(tmp_path, talk, trials=9)


@pytest.mark.parametrize(
    ("status", "score", "runs"),
    [("INVALID", None, 2), ("FAILED", None, 1), ("COMPLETED", NAN, 2), ("INVALID", 0.5, 2)],
)
@pytest.mark.filterwarnings("ignore:All-NaN axis:RuntimeWarning")
def test_invalid_trials_and_nan_are_retried_as_often_as_the_budget_says_and_failed_ones_never(
    tmp_path: Path, status: str, score: float | None, runs: int
) -> None:
    theirs = Theirs(tmp_path, retries=1)  # as retries.failure by default

    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stock = Stock(channel)
        for _ in range(runs):
            trial, their_trial = await stock.take(), theirs.take()
            assert names.parse_attempt_id(trial.trial_id).trial_id == "00000"
            assert their_trial.trial_id == "0"
            await stock.end(trial, status, score)
            theirs.end(their_trial, status, score)
        assert (await stock.take()).trial_id == "00001"
        assert theirs.take().trial_id == "1"
        assert chief.state.trials[names.TrialId("00000")].state is TrialState.FAILED
        assert theirs.oracle.trials["0"].status == "FAILED"

    with_chief(tmp_path, talk, trials=9)


# ---- another space than the chief's -------------------------------------------------------------------
def test_a_trial_of_a_worker_with_another_space_does_not_count_and_the_worker_is_told_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stock = Stock(channel)
        trial = await stock.take()
        trial.hyperparameters.Choice("kernel", [3, 5])
        trial.hyperparameters.Float("rate", 0, 1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stock.end(trial, score=0.9)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        message = str(refused.value.details())
        assert (
            "that the chief's space does not have: rate, kernel. The chief searches units. Start the chief" in message
        )
        kept = read_study(chief.bucket, STUDY.name).trials[names.TrialId("00000")]
        assert (kept.state, kept.score, kept.reason) == (TrialState.QUEUED, None, message)
        assert "trial 00000 of tuner0 does not count" in caplog.text
        await stock.end(await stock.take("tuner1"), score=0.5)  # another worker, with the chief's space
        assert [trial.score for trial in await stock.best(1)] == [0.5]

    with_chief(tmp_path, talk)


def test_a_space_that_is_sent_before_the_first_trial_is_compared(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub, space = stub_of(channel), keras_tuner.HyperParameters()
        space.Int("units", 1, 100_000)
        await stub.UpdateSpace(messages.UpdateSpaceRequest(hyperparameters=space.to_proto()), timeout=20)
        for number in range(9):
            space.Boolean(f"norm_{number}")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.UpdateSpace(messages.UpdateSpaceRequest(hyperparameters=space.to_proto()), timeout=20)
        assert "norm_0, norm_1, norm_2, norm_3, norm_4 and 4 more" in str(refused.value.details())

    with_chief(tmp_path, talk)


def test_values_that_are_no_hyperparameters_of_a_space_are_not_compared(tmp_path: Path) -> None:
    async def talk(chief: Chief, channel: grpc.aio.Channel) -> None:
        stub, space = stub_of(channel), keras_tuner.HyperParameters()
        space.Fixed("tuner/epochs", 3)
        await stub.UpdateSpace(messages.UpdateSpaceRequest(hyperparameters=space.to_proto()), timeout=20)

    with_chief(tmp_path, talk)
