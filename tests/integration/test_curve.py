"""A trial's curve and weights are the same, bit for bit, however often its workers were ended."""

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
from tests.integration.one_trial import EPOCHS, Night, night
from tests.integration.support import FASTEST_BACKEND, Place
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
    done = night.work().wait()
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    """Keras's backend in the workers; all curves of a test are of the same."""
    return str(getattr(request, "param", FASTEST_BACKEND))


@pytest.fixture
def place(tmp_path: Path, backend: str) -> Iterator[Place]:
    with support.place(tmp_path / "place", backend=backend) as new_place:
        yield new_place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, two_colours: str, backend: str) -> Iterator[Curve]:
    """The trial of one worker that nobody disturbed."""
    with (
        support.place(tmp_path_factory.mktemp("whole"), backend=backend) as place,
        night(place, place.bucket, two_colours, "GatedNoise") as new_night,
    ):
        to_the_end(new_night)
        yield curve(new_night)


def killed(night: Night, epochs: int) -> None:
    """Let a worker train until so many epochs are reported, and kill it in the midst of the next."""
    night.gate("slow").touch()
    worker = night.work()
    night.until(lambda: night.epochs() >= epochs, f"{epochs} epochs")
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.wait()
    night.chief.expire()


def ended(night: Night, epochs: int) -> None:
    """The same, but it is asked to stop."""
    night.gate("slow").touch()
    worker = night.work()
    night.until(lambda: night.epochs() >= epochs, f"{epochs} epochs")
    worker.process.terminate()
    assert worker.wait().code == 143


Interrupt = Callable[[Night, int], None]


@pytest.mark.parametrize(
    ("backend", "interruptions"),
    [("tensorflow", [ended, killed]), ("jax", [killed, ended, killed])],
    indirect=["backend"],
)
def test_an_interrupted_trial_has_the_curve_of_one_that_was_not(
    place: Place, two_colours: str, whole: Curve, interruptions: list[Interrupt]
) -> None:
    with night(place, place.bucket, two_colours, "GatedNoise") as new_night:
        for number, interrupt in enumerate(interruptions, start=1):
            interrupt(new_night, number)
        to_the_end(new_night)
        resumed = curve(new_night)
    assert resumed.attempts == len(interruptions) + 1
    assert set(resumed.epochs[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert resumed.epochs == whole.epochs
    for one, other in zip(resumed.weights + resumed.optimizer, whole.weights + whole.optimizer, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_was_trained_while_the_chief_was_away_is_not_trained_again(
    place: Place, two_colours: str, whole: Curve
) -> None:
    with night(place, place.bucket, two_colours, "GatedNoise") as new_night:
        new_night.gate("hold-1").touch()
        new_night.gate("hold-4").touch()
        worker = new_night.work()
        new_night.until(lambda: new_night.epochs() == 1, "an epoch")
        new_night.chief.stop()
        new_night.gate("hold-1").unlink()
        new_night.until(
            lambda: new_night.place.bucket.exists(names.checkpoint("cifake", "00000", 1, 3)),
            "the checkpoint of the fourth epoch",
        )
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.wait()
        new_night.chief.start()
        assert new_night.epochs() == 1
        new_night.chief.expire()
        to_the_end(new_night)
        resumed = curve(new_night)
        reports = [record for record in new_night.place.records() if isinstance(record, Reported)]
        leases = [record for record in new_night.place.records() if isinstance(record, Leased)]
    assert resumed.epochs == whole.epochs
    assert [(record.epoch, record.attempt) for record in reports] == [(0, 1), *((epoch, 2) for epoch in range(1, 6))]
    assert [str(Path(record.checkpoint or "").parent.name) for record in reports] == ["1"] * 4 + ["2"] * 2
    assert len(leases) == 2
