"""A trial's curve and weights are the same, bit for bit, however often its workers were ended and its chief was away.

TensorFlow takes 6 s of a core to start. So its undisturbed workers work in this process, which has it.
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.integration import support
from tests.integration.in_process import do_here
from tests.integration.one_trial import EPOCHS, Night, night
from tests.integration.support import BACKENDS, Place
from tuner import names
from tuner.study.records import Leased, Reported, TrialState

NUMBERS = dict[str, float]


@dataclass
class Curve:
    """What a trial came to."""

    epochs: dict[int, NUMBERS]
    weights: list[NDArray[np.float32]]
    optimizer: list[NDArray[np.float32]]
    attempts: int


def curve(night: Night) -> Curve:
    trial = night.trial()
    assert trial is not None
    assert trial.state is TrialState.COMPLETED
    file = night.place.folder / "last.keras"
    night.place.bucket.download(trial.checkpoints[EPOCHS - 1], file)
    model = keras.saving.load_model(file)
    weights = [np.array(value) for value in model.get_weights()]
    optimizer = [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
    return Curve(trial.epochs, weights, optimizer, trial.attempts)


def to_the_end(night: Night) -> None:
    """Let a worker train what is left."""
    for gate in night.place.gate.iterdir():
        gate.unlink()
    done = do_here(night.place, "worker", **night.identity) if here(night.place) else night.work().wait()
    assert done.code == 0, done.err


def here(place: Place) -> bool:
    """Return whether this process has the workers' backend."""
    return place.backend == keras.backend.backend()


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    """Keras's backend in the workers; all curves of a test are of the same."""
    return str(request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, two_colours: str, backend: str) -> Iterator[Curve]:
    """The trial of one worker that nobody disturbed."""
    with (
        support.place(tmp_path_factory.mktemp("whole"), backend=backend) as place,
        night(place, place.bucket, two_colours, "GatedNoise") as new_night,
    ):
        to_the_end(new_night)
        yield curve(new_night)


def uploaded(night: Night) -> set[str]:
    """Return the checkpoints that are in the bucket."""
    return set(night.place.bucket.list(names.trials_prefix(night.place.study)))


def killed(night: Night, epochs: int) -> set[str]:
    """Let a worker train until so many epochs are reported, and kill it in the middle of the next.

    Return the checkpoints that it left.
    """
    night.gate("slow").touch()
    worker = night.work()
    night.until(lambda: night.epochs() >= epochs, f"{epochs} epochs")
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.wait()
    left = uploaded(night)
    night.chief.expire()
    return left


def ended(night: Night, epochs: int) -> set[str]:
    """The same, but it is asked to stop."""
    night.gate("slow").touch()
    worker = night.work()
    night.until(lambda: night.epochs() >= epochs, f"{epochs} epochs")
    worker.process.terminate()
    assert worker.wait().code == 143
    return uploaded(night)


def killed_without_chief(night: Night, epochs: int) -> set[str]:
    """Let a worker train so many epochs, then two while the chief is away, and kill it in the middle of the next."""
    hold = night.gate(f"hold-{epochs}")
    hold.touch()
    night.gate("slow").touch()
    worker = night.work()
    night.until(lambda: night.epochs() == epochs, f"{epochs} epochs")
    night.chief.stop()
    hold.unlink()
    last = names.checkpoint(night.place.study, "00000", 1, epochs + 1)
    night.until(lambda: night.place.bucket.exists(last), "the checkpoint of the second epoch without a chief")
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.wait()
    left = uploaded(night)
    night.chief.start()
    assert night.epochs() == epochs
    night.chief.expire()
    return left


Interrupt = Callable[[Night, int], set[str]]
INTERRUPTIONS: dict[str, list[tuple[int, Interrupt]]] = {
    "tensorflow": [(1, ended), (2, killed)],
    "jax": [(1, killed_without_chief), (4, ended)],
}
"""By backend, after how many epochs a worker is interrupted, and how."""


@dataclass
class Resumed:
    """The trial of workers that were interrupted."""

    curve: Curve
    reports: list[Reported]
    leases: list[Leased]
    left: list[set[str]]
    """The checkpoints that were in the bucket after each interruption."""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, two_colours: str, backend: str) -> Iterator[Resumed]:
    with (
        support.place(tmp_path_factory.mktemp("resumed"), backend=backend) as place,
        night(place, place.bucket, two_colours, "GatedNoise") as new_night,
    ):
        left = [interrupt(new_night, epochs) for epochs, interrupt in INTERRUPTIONS[backend]]
        to_the_end(new_night)
        records = place.records()
        yield Resumed(
            curve(new_night),
            [record for record in records if isinstance(record, Reported)],
            [record for record in records if isinstance(record, Leased)],
            left,
        )


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_an_interrupted_trial_has_the_curve_of_one_that_was_not(whole: Curve, resumed: Resumed, backend: str) -> None:
    assert resumed.curve.attempts == len(resumed.leases) == len(INTERRUPTIONS[backend]) + 1
    assert set(resumed.curve.epochs[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert resumed.curve.epochs == whole.epochs
    values = zip(resumed.curve.weights + resumed.curve.optimizer, whole.weights + whole.optimizer, strict=True)
    for one, other in values:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backend", ["jax"], indirect=True)
def test_what_was_trained_while_the_chief_was_away_is_not_trained_again(resumed: Resumed) -> None:
    assert [record.epoch for record in resumed.reports] == list(range(EPOCHS))
    assert [record.attempt for record in resumed.reports][:3] == [1, 2, 2]
    checkpoints = [record.checkpoint for record in resumed.reports]
    of_first_attempt = [name for name in checkpoints if name and Path(name).parent.name == "1"]
    assert checkpoints[: len(of_first_attempt)] == of_first_attempt
    assert len(of_first_attempt) >= 3
    assert set(of_first_attempt) == resumed.left[0]
