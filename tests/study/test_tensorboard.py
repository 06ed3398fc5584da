"""TensorBoard shows every trial that ended: its curves, its hyperparameters, its score."""

import math
from pathlib import Path

import pytest

from tests.search.test_oracle import A, B, at, oracle, take
from tests.support.tensorboard import running_tensorboard
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import BucketError
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.records import Outcome, Value
from tuner.study.state import StudyState
from tuner.study.tensorboard import SCORE, EventFiles, event_file

STUDY = "cifake"
VALUES: dict[str, Value] = {
    "units": 32, "rate": 1e-3, "augment": True, "name": "<b>é🙂</b>", "odd": math.inf, "tuner/epochs": 3,
}  # fmt: skip


class Unwell(LocalBucket):
    """A bucket that can be told to fail."""

    fails = False

    def write(self, name: str, data: bytes) -> None:
        if self.fails:
            raise BucketError("the bucket is unwell.")
        super().write(name, data)


def search(trials: int) -> Oracle:
    chief = oracle("retries.failure=0", "search.early_stopping.policy=none")
    for number in range(trials):
        chief.add(Suggestion(names.TrialId(f"{number:05d}"), VALUES | {"units": 32 + number}, {}), at(0))
    return chief


def train(chief: Oracle, *curve: float, fail: bool = False) -> str:
    attempt = take(chief, A)
    for epoch, value in enumerate(curve):
        metrics = {"val_accuracy": value, "loss": 1 - value}
        chief.report(attempt, epoch, metrics, f"{attempt.trial}-{epoch}.keras", at(10 * (epoch + 1)))
    if fail:
        chief.give_back(attempt, Outcome.FAILED, "it broke", at(50))
    else:
        chief.complete(attempt, at(50))
    return attempt.trial


def written(bucket: LocalBucket) -> list[str | None]:
    return [names.parse_tensorboard_events(name) for name in bucket.list(names.tensorboard_prefix(STUDY))]


def draw(bucket: LocalBucket, state: StudyState) -> None:
    """Do what a new chief, or the evaluator, does."""
    files = EventFiles(bucket, state)
    if files.ended():
        files.write()


@pytest.mark.slow
def test_a_real_tensorboard_shows_curves_hyperparameters_and_scores(tmp_path: Path) -> None:
    chief, bucket = search(3), LocalBucket(tmp_path / "bucket")
    done, failed, broken = train(chief, 0.5, 0.75, 0.625), train(chief, 0.25, fail=True), train(chief, fail=True)
    draw(bucket, chief.state)
    with running_tensorboard(tmp_path / "bucket" / names.tensorboard_prefix(STUDY)) as board:
        board.wait_for(lambda board: len(board.tags()) == 2 and len(board.trials()) == 3)
        assert board.tags() == {done: {"val_accuracy", "loss", SCORE}, failed: {"val_accuracy", "loss"}}
        assert board.curve(done, "val_accuracy") == [(1, 0.5), (2, 0.75), (3, 0.625)]
        assert board.curve(done, "loss") == [(1, 0.5), (2, 0.25), (3, 0.375)]
        assert board.curve(done, SCORE) == [(2, 0.75)]
        rows = {row["name"]: row for row in board.trials()}
        assert set(rows) == {done, failed, broken}
        expected = {key: value for key, value in VALUES.items() if key != "tuner/epochs"} | {"odd": "inf"}
        assert rows[done]["hparams"] == expected
        assert {row["name"]: row["sessions"][0]["status"] for row in rows.values()} == {
            done: "STATUS_SUCCESS", failed: "STATUS_FAILURE", broken: "STATUS_FAILURE",
        }  # fmt: skip
        [session] = rows[done]["sessions"]
        assert (session["startTimeSecs"], session["endTimeSecs"]) == (at(0).at, at(50).at)
        last = {value["name"]["tag"]: value["value"] for value in rows[done]["metricValues"]}
        assert last == {"val_accuracy": 0.625, "loss": 0.375, SCORE: 0.75}


@pytest.mark.slow
def test_a_curve_keeps_what_is_no_number_and_when_each_epoch_was_reported(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    chief = search(1)
    trial = chief.state.trials[names.TrialId(train(chief, 0.5, math.nan, -math.inf))]
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(event_file(trial))
    read = EventAccumulator(str(tmp_path)).Reload()
    events = read.Scalars("val_accuracy")
    assert [event.wall_time for event in events] == [at(10).at, at(20).at, at(30).at]
    assert [event.step for event in events] == [1, 2, 3]
    assert events[0].value == 0.5
    assert math.isnan(events[1].value)
    assert events[2].value == -math.inf


def test_a_trial_is_written_once_when_it_has_ended(tmp_path: Path) -> None:
    chief, bucket = search(3), LocalBucket(tmp_path)
    files = EventFiles(bucket, chief.state)
    assert not files.ended()
    first = train(chief, 0.5)
    take(chief, B)
    assert files.ended()
    files.write()
    assert written(bucket) == [first]
    assert not files.ended()


def test_what_a_killed_chief_left_unwritten_is_written_by_the_next(tmp_path: Path) -> None:
    chief, bucket = search(3), LocalBucket(tmp_path)
    files = EventFiles(bucket, chief.state)
    first = train(chief, 0.5)
    files.ended()
    files.write()
    name = names.tensorboard_events(STUDY, first)
    bucket.write(name, b"of the chief before")
    second = train(chief, 0.6)
    draw(bucket, chief.state)
    assert written(bucket) == [first, second]
    assert bucket.read(name) == b"of the chief before"


def test_a_trial_that_ended_otherwise_for_the_next_chief_is_written_anew(tmp_path: Path) -> None:
    """A chief may be killed before what it has drawn is in the journal."""
    chief, bucket = search(1), LocalBucket(tmp_path)
    files = EventFiles(bucket, chief.state)
    name = names.tensorboard_events(STUDY, "00000")
    bucket.write(name, b"of the chief before")
    train(chief, 0.5)
    files.ended()
    files.write()
    assert bucket.read(name) == event_file(chief.state.trials[names.TrialId("00000")])


def test_what_a_bucket_did_not_take_is_written_when_it_is_well_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chief, bucket = search(2), Unwell(tmp_path)
    files = EventFiles(bucket, chief.state)
    bucket.fails = True
    first = train(chief, 0.5)
    files.ended()
    files.write()
    assert written(bucket) == []
    assert f"the file of trial {first} for TensorBoard cannot be written yet: the bucket is unwell." in caplog.text
    bucket.fails = False
    assert files.ended()
    files.write()
    assert written(bucket) == [first]
