"""Where an attempt resumes, given the checkpoints of older attempts and the epochs that the chief knows."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import keras_tuner
import pytest

from tests.integration.spaces.user_spaces import Tiny
from tests.support.chief import RunningChief
from tests.worker.conftest import nothing
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.training.checkpoint import CheckpointState, save, sha256
from tuner.worker.attempt import known_metrics
from tuner.worker.chief_client import ChiefClient, Grant
from tuner.worker.resume import ResumePoint, find_resume_point


def metrics(epoch: int) -> dict[str, float]:
    return {"val_accuracy": epoch / 8, "loss": 1 - epoch / 8}


@dataclass
class Trial:
    """One trial of a real chief, with attempts that save, report and are lost."""

    chief: RunningChief
    bucket: LocalBucket
    folder: Path
    model: keras.Model
    new_client: Callable[[str], ChiefClient]
    attempts: int = 0
    histories: dict[int, dict[int, dict[str, float]]] = field(default_factory=dict)

    def begin(self) -> Grant:
        """Begin the next attempt: its worker's name is new."""
        if self.attempts:
            self.chief.expire()
        self.attempts += 1
        self.client = self.new_client(f"w{self.attempts}")
        grant = self.client.next_trial(nothing)
        assert grant is not None
        assert grant.attempt == self.attempts
        self.grant = grant
        return grant

    def save(self, epoch: int, attempt: int | None = None, history: dict[int, dict[str, float]] | None = None) -> str:
        """Put a checkpoint into the bucket, and return its name."""
        name = names.checkpoint("cifake", self.grant.trial_id, attempt or self.grant.attempt, epoch)
        history = history or {number: metrics(number) for number in range(epoch + 1)}
        file = self.folder / "model.keras"
        save(self.model, CheckpointState(epoch=epoch, seed=1, history=history), file)
        self.bucket.upload(name, file)
        self.digest = sha256(file)
        return name

    def report(self, epoch: int, checkpoint: str | None = None) -> str:
        """Save and report an epoch."""

        name = checkpoint or self.save(epoch)
        self.client.report(self.grant, epoch, metrics(epoch), name, self.digest, threading.Event())
        return name

    def start(self) -> ResumePoint:
        """Return where the newest attempt resumes."""
        folder = self.folder / f"attempt-{self.attempts}"
        folder.mkdir()
        return find_resume_point(self.bucket, "cifake", self.grant, known_metrics(self.grant), folder)

    def damage(self, name: str) -> None:
        """Flip a bit in the middle of an object."""
        data = bytearray(self.bucket.read(name))
        data[len(data) // 2] ^= 1
        self.bucket.write(name, bytes(data))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return Tiny((8, 8, 3), 2).build(keras_tuner.HyperParameters())


@pytest.fixture
def trial(
    chief: RunningChief,
    bucket: LocalBucket,
    tmp_path: Path,
    model: keras.Model,
    new_client: Callable[[str], ChiefClient],
) -> Trial:
    new_trial = Trial(chief, bucket, tmp_path, model, new_client)
    new_trial.begin()
    return new_trial


def test_a_first_attempt_begins_at_the_beginning(trial: Trial) -> None:
    assert trial.start() == ResumePoint()


def test_an_attempt_goes_on_after_the_last_reported_epoch(trial: Trial) -> None:
    for epoch in range(3):
        trial.report(epoch)
    trial.begin()
    start = trial.start()
    assert (start.first_epoch, start.unreported) == (3, ())
    assert start.history == {epoch: metrics(epoch) for epoch in range(3)}
    assert start.file is not None
    assert sha256(start.file) == trial.digest


def test_what_was_durable_and_not_reported_is_found_with_its_metrics(trial: Trial) -> None:
    trial.report(0)
    unreported = [trial.save(1), trial.save(2)]
    trial.begin()
    start = trial.start()
    assert start.first_epoch == 3
    assert [(epoch.number, epoch.metrics, epoch.checkpoint) for epoch in start.unreported] == [
        (1, metrics(1), unreported[0]),
        (2, metrics(2), unreported[1]),
    ]
    assert start.unreported[1].sha256 == trial.digest


def test_the_chief_takes_what_an_older_attempt_made_and_not_what_a_newer_one_might(trial: Trial) -> None:
    unreported = trial.save(0)
    trial.begin()
    trial.report(0, unreported)
    kept = trial.chief.ask(lambda state: dict(state.trials[names.TrialId(trial.grant.trial_id)].checkpoints))
    assert kept == {0: unreported}
    from tuner.worker.call_errors import ReportRefusedError

    with pytest.raises(ReportRefusedError, match="is not a model of epoch 1 of this attempt or an earlier one"):
        trial.report(1, names.checkpoint("cifake", trial.grant.trial_id, 3, 1))
    with pytest.raises(ReportRefusedError, match="is not a model of epoch 1 of this attempt or an earlier one"):
        trial.report(1, unreported)  # it is that of epoch 0


def test_a_damaged_newest_checkpoint_is_passed_over_for_the_best_epochs(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    trial.report(0)
    trial.damage(trial.report(1))
    trial.begin()
    start = trial.start()
    assert (start.first_epoch, start.unreported) == (1, ())
    assert start.history == {0: metrics(0)}
    assert "its SHA-256 differs from the reported one" in caplog.text


def test_an_object_replaced_by_another_intact_one_is_not_what_was_reported(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    trial.report(0)
    trial.save(0, history={0: {**metrics(0), "more": 1.0}})
    trial.begin()
    assert trial.start().first_epoch == 0
    assert "its SHA-256 differs from the reported one" in caplog.text


def test_a_damaged_unreported_one_is_passed_over(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    trial.report(0)
    trial.damage(trial.save(1))
    trial.begin()
    start = trial.start()
    assert (start.first_epoch, start.unreported) == (1, ())
    assert "/00001.keras is not used" in caplog.text


def test_of_an_unreported_epoch_whose_object_is_damaged_the_metrics_are_still_found(trial: Trial) -> None:
    trial.report(0)
    trial.damage(trial.save(1))
    trial.save(2)
    trial.begin()
    assert [(epoch.number, epoch.checkpoint is None) for epoch in trial.start().unreported] == [(1, True), (2, False)]


def test_with_all_checkpoints_gone_it_begins_again(trial: Trial) -> None:
    trial.bucket.delete(trial.report(0))
    trial.bucket.delete(trial.report(1))
    trial.begin()
    assert trial.start() == ResumePoint()


def test_a_zombies_upload_of_an_epoch_that_was_reported_since_is_not_taken_for_it(trial: Trial) -> None:
    trial.report(0)
    trial.begin()
    own = trial.report(1)
    trial.save(1, attempt=1)
    trial.begin()
    start = trial.start()
    assert (start.first_epoch, start.unreported) == (2, ())
    assert start.file is not None
    assert sha256(start.file) == trial.chief.ask(
        lambda state: state.trials[names.TrialId(trial.grant.trial_id)].sha256[1]
    )
    assert own in start.objects


def test_a_zombies_upload_that_goes_beyond_is_as_good_as_any_where_its_curve_is_the_same(trial: Trial) -> None:
    trial.report(0)
    trial.begin()
    trial.report(1)
    ahead = trial.save(2, attempt=1)
    trial.begin()
    assert [epoch.checkpoint for epoch in trial.start().unreported] == [ahead]


def test_a_zombies_upload_with_another_curve_is_not_taken(trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
    trial.report(0)
    trial.begin()
    trial.report(1)
    trial.save(2, attempt=1, history={0: metrics(0), 1: {**metrics(1), "loss": 0.1}, 2: metrics(2)})
    trial.begin()
    start = trial.start()
    assert (start.first_epoch, start.unreported) == (2, ())
    assert "its metrics differ from the reported ones" in caplog.text
