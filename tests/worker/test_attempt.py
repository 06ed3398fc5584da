"""An attempt in this process, with a real chief, heartbeat and training loop: its end, and its errors."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from tests.integration.spaces.user_spaces import Tiny
from tests.support.chief import RunningChief
from tests.support.disks import fill_with_files, small_disk
from tests.worker.conftest import nothing
from tests.worker.greedy import Greedy
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.data.arrays import Arrays, TrainingData
from tuner.errors import EnvironmentFailure, PreemptedError
from tuner.spaces.own_data import load_training_parts
from tuner.study.objective import Objective
from tuner.study.records import Outcome, TrialState
from tuner.training.checkpoint import CheckpointState, save
from tuner.training.trainer import SpaceTrainer
from tuner.worker.attempt import Attempt
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.context import WorkerContext
from tuner.worker.epoch_reporter import IoThreads
from tuner.worker.heartbeat import HeartbeatThread
from tuner.worker.log_writer import LogWriter
from tuner.worker.memory_sharing import write_number
from tuner.worker.stop_signal import StopSignal

SHAPE, CLASSES = (8, 8, 3), 2
BATCHES = 50
FENCED_S = 30.0


@pytest.fixture
def study() -> Study:
    """Epochs with many batches, and frequent heartbeats."""
    return load(
        settings=[
            *("search.max_trials=1", "training.epochs=1", "search.early_stopping.policy=none"),
            *("data.batch_size=2", "leases.duration_s=0.6"),
        ]
    )


@pytest.fixture
def stop(signals: None) -> Iterator[StopSignal]:
    stop_signal = StopSignal()
    yield stop_signal
    stop_signal.finish()


def arrays(count: int) -> Arrays:
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    return Arrays(np.random.default_rng(0).integers(0, 256, (count, *SHAPE)).astype(np.uint8), labels)


Open = Callable[[keras_tuner.HyperModel], WorkerContext]


@pytest.fixture
def open_context(
    bucket: LocalBucket, study: Study, client: ChiefClient, stop: StopSignal, tmp_path: Path
) -> Iterator[Open]:
    """Return a function that makes a worker's context around a space."""
    with HeartbeatThread(client) as heartbeat, IoThreads() as io_threads, LogWriter(bucket, study.name) as logs:
        data = TrainingData(arrays(2 * BATCHES), arrays(20))
        yield lambda space: WorkerContext(
            bucket=bucket,
            study=study,
            objective=Objective("val_accuracy"),
            space=space,
            data=data,
            trainer=SpaceTrainer(space, data),
            classes=CLASSES,
            chief=client,
            heartbeat=heartbeat,
            stop=stop,
            io_threads=io_threads,
            logs=logs,
            folder=tmp_path,
        )


class After(keras.callbacks.Callback):
    """Counts the trained batches, and calls a function after the third."""

    def __init__(self, third: Callable[[], None]) -> None:
        super().__init__()
        self.batches = 0
        self._third = third

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.batches += 1
        if self.batches == 3:
            self._third()


class Watched(Tiny):
    """Tiny, trained by the product's own loop with one more callback."""

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__(SHAPE, CLASSES)
        self._callback = callback

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = self.model(4, learning_rate=0.02)
        fit = model.fit
        model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[*callbacks, self._callback], **more)
        return model


class Logits(Tiny):
    """Tiny without its softmax."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        return model


def test_an_attempt_whose_trial_another_worker_has_stops_at_the_next_batch(
    open_context: Open, chief: RunningChief, grant: Grant, new_client: Callable[[str], ChiefClient]
) -> None:
    others: list[Grant | None] = []
    fenced: list[bool] = []

    def another_takes_it() -> None:
        chief.expire()
        others.append(new_client("another").next_trial(nothing))
        fenced.append(context.heartbeat.fenced.wait(FENCED_S))

    after = After(another_takes_it)
    context = open_context(Watched(after))
    Attempt(context, grant).run()
    [other] = others
    assert other is not None
    assert (other.trial_id, other.attempt) == (grant.trial_id, 2)
    assert fenced == [True]
    assert after.batches <= 3 + 1
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, trial.worker, trial.epochs) == (TrialState.RUNNING, "another", {})


class OneHot(keras_tuner.HyperModel):
    """Its own data has labels of another shape than its model's outputs."""

    def data(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((8, 4), np.float32), np.zeros((8, 3), np.float32)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        return model


def test_labels_of_a_spaces_own_data_that_do_not_fit_its_loss_are_said_to_be_those_of_its_data(
    open_context: Open, chief: RunningChief, grant: Grant
) -> None:
    space = OneHot()
    data = load_training_parts(space, seed=1)
    context = replace(open_context(space), data=data, trainer=SpaceTrainer(space, data), classes=0)
    Attempt(context, grant).run()
    fault = chief.ask(lambda state: state.shared_fault)
    assert "The labels are those that the space's data() returns" in fault
    assert "integers from 0" not in fault


def test_a_check_that_runs_out_of_memory_costs_its_trial_a_retry_of_that_kind(
    open_context: Open, chief: RunningChief, grant: Grant
) -> None:
    Attempt(open_context(Greedy("loaded")), grant).run()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, dict(trial.outcomes)) == (TrialState.QUEUED, {Outcome.OUT_OF_MEMORY: 1})
    assert trial.reason.startswith("MemoryError: the check of the saved model ran out of memory beside the trained")
    assert "Unable to allocate 8.00 PiB" in trial.reason.partition("\n")[0]


@pytest.mark.parametrize(
    ("sharing", "outcome", "said"),
    [
        (3, Outcome.PREEMPTED, "3 processes shared the memory: MemoryError: the check of the saved model"),
        (1, Outcome.OUT_OF_MEMORY, "MemoryError: the check of the saved model"),
    ],
)
def test_running_out_of_memory_costs_no_retry_of_that_kind_while_other_processes_of_the_pod_share_the_memory(
    sharing: int,
    outcome: Outcome,
    said: str,
    open_context: Open,
    chief: RunningChief,
    grant: Grant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "sharing"
    write_number(file, sharing)
    monkeypatch.setenv(names.ENV_SHARING, str(file))
    context, states = open_context(Greedy("loaded")), []

    def let_one_leave() -> None:  # as the pod's supervisor does when it reads the metric
        while not context.metrics.out_of_memory._value.get():
            time.sleep(0.01)
        states.append(chief.ask(lambda state: [trial.state for trial in state.trials.values()]))
        write_number(file, sharing - 1)

    thread = threading.Thread(target=let_one_leave, daemon=True)
    thread.start()
    Attempt(context, grant).run()
    thread.join()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, dict(trial.outcomes)) == (TrialState.QUEUED, {outcome: 1})
    assert trial.reason.startswith(said)
    if sharing > 1:
        assert states == [[TrialState.RUNNING]]  # it was not returned before there was room


class Evaluating(Logits):
    """Its own evaluation needs no probabilities."""

    def evaluate(self, model: keras.Model, test: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        images, labels = test
        return {"right": (model.predict(images, verbose=0).argmax(axis=1) == labels).mean()}


def test_a_model_that_its_space_evaluates_may_answer_with_anything_and_is_not_verified(
    open_context: Open, chief: RunningChief, grant: Grant
) -> None:
    Attempt(open_context(Evaluating(SHAPE, CLASSES)), grant).run()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, trial.verified) == (TrialState.COMPLETED, False)


def test_a_model_that_does_not_answer_with_probabilities_ends_its_trial_after_an_epoch_which_is_not_kept(
    open_context: Open, chief: RunningChief, grant: Grant, bucket: LocalBucket
) -> None:
    Attempt(open_context(Logits(SHAPE, CLASSES)), grant).run()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, dict(trial.outcomes)) == (TrialState.FAILED, {Outcome.INVALID: 1})
    assert trial.reason.startswith("the model's outputs are not probabilities (from ")
    assert trial.epochs == {}
    fault = chief.ask(lambda state: state.shared_fault)
    assert fault.startswith(
        "every trial would fail as trial 00000 did: the model's outputs are not probabilities (from "
    )
    assert [name for name in bucket.list(names.trials_prefix("cifake")) if names.parse_checkpoint(name)] == []


@pytest.mark.parametrize("study", [load(settings=["search.max_trials=1", "retries.environment_s=1"])])
def test_an_attempt_that_finds_no_room_on_the_disk_costs_its_trial_no_retry(
    open_context: Open, chief: RunningChief, grant: Grant, client: ChiefClient, tmp_path: Path
) -> None:
    chief.expire()
    second = client.next_trial(nothing)
    assert second is not None
    with small_disk(tmp_path / "disk", 64, files=8) as disk:
        fill_with_files(disk)
        context = replace(open_context(Tiny(SHAPE, CLASSES)), folder=disk)
        with pytest.raises(EnvironmentFailure, match=f"cannot create temporary files in {disk} .No space left"):
            Attempt(context, second).run()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    lost_once = {Outcome.LOST: 1, Outcome.ENVIRONMENT: 1}  # before, the first attempt's lease expired
    assert (trial.trial_id, trial.state, dict(trial.outcomes)) == (grant.trial_id, TrialState.QUEUED, lost_once)


class Interrupted(Tiny):
    """Returns a measure of its own. The first worker is asked to stop before that."""

    calls = 0

    def fit(self, hp, model, x, y, validation_data, **more):
        model.fit(x, y, validation_data=validation_data, verbose=0, **more)
        self.calls += 1
        if self.calls == 1:
            raise PreemptedError
        return 0.125


@pytest.mark.parametrize("study", [load(settings=["search.max_trials=1", "training.epochs=2", "search.direction=max"])])
def test_what_fit_returns_is_not_lost_with_a_worker_that_has_trained_all_epochs(
    open_context: Open, chief: RunningChief, grant: Grant, client: ChiefClient
) -> None:
    context = open_context(space := Interrupted(SHAPE, CLASSES))
    with pytest.raises(PreemptedError):
        Attempt(context, grant).run()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (sorted(trial.epochs), trial.returned) == ([0, 1], None)
    second = client.next_trial(nothing)
    assert second is not None
    Attempt(context, second).run()
    assert (space.calls, trial.state, trial.score, trial.returned) == (2, TrialState.COMPLETED, 0.125, 1)


class Finished(Tiny):
    """Must not be trained again."""

    def fit(self, *args, **more):
        pytest.fail("the trial had been trained to its end")


@pytest.mark.parametrize("study", [load(settings=["search.max_trials=1", "training.epochs=9"])])
def test_a_trial_whose_fit_had_returned_is_not_trained_again_although_it_had_fewer_epochs_than_planned(
    open_context: Open, chief: RunningChief, grant: Grant, client: ChiefClient, bucket: LocalBucket, tmp_path: Path
) -> None:
    space = Finished(SHAPE, CLASSES)
    history = {epoch: {"val_accuracy": value} for epoch, value in enumerate([0.5, 0.125])}
    state = CheckpointState(epoch=1, seed=1, history=history, returned=True)
    save(space.build(keras_tuner.HyperParameters()), state, file := tmp_path / "m.keras")
    bucket.upload(names.checkpoint("cifake", grant.trial_id, grant.attempt, 1), file)
    chief.expire()
    second = client.next_trial(nothing)
    assert second is not None
    Attempt(open_context(space), second).run()
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, trial.score, trial.returned) == (TrialState.COMPLETED, 0.125, 1)


class Diverging(Tiny):
    """Tiny with a training loop that only reports: the objective is infinite after the first epoch."""

    def fit(self, hp, model, x, y, callbacks, epochs, initial_epoch, **more):
        for callback in callbacks:
            callback.set_model(model)
        for epoch, value in enumerate([np.inf, 0.7, 0.6][:epochs]):
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
                callback.on_epoch_end(epoch, logs={"loss": 0.5, "val_score": value})


SCORE = Objective("val_score")
"""An objective that the worker cannot recompute."""


@pytest.mark.parametrize(
    "study",
    [
        load(
            settings=[
                *("search.max_trials=1", "training.epochs=3", "training.patience=2"),
                *(f"search.objective={SCORE.name}", "search.direction=max"),
            ]
        )
    ],
)
def test_a_worker_keeps_the_model_of_the_epoch_that_the_chief_calls_the_best(
    open_context: Open, chief: RunningChief, grant: Grant, bucket: LocalBucket
) -> None:
    context = replace(open_context(Diverging(SHAPE, CLASSES)), objective=SCORE)
    Attempt(context, grant).run()
    context.io_threads.bucket.shutdown(wait=True)  # it deletes models in the background
    [trial] = chief.ask(lambda state: list(state.trials.values()))
    assert (trial.state, trial.score, trial.best_epoch) == (TrialState.COMPLETED, pytest.approx(0.7), 1)
    assert trial.verified is False
    assert trial.checkpoint in list(bucket.list(names.trials_prefix("cifake")))
