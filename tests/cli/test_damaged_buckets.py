"""Journals with missing segments and evaluations with damaged files: every command that reads them says so."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.conftest import STUDY, unpack
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import ExitCode

READERS = (("status",), ("status", "--json"), ("trials",), ("trials", "--json"), ("logs", "0"), ("report",))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> LocalBucket:
    """The bucket of a finished study, without its snapshots, which small studies do not have. Not to be changed."""
    bucket = LocalBucket(unpack("finished", tmp_path_factory.mktemp("original")) / "bucket")
    for name in list(bucket.list(names.snapshots_prefix(STUDY))):
        bucket.delete(name)
    return bucket


@pytest.fixture
def bucket(original: LocalBucket, tmp_path: Path) -> LocalBucket:
    """A copy, to be damaged."""
    copy = LocalBucket(tmp_path / "bucket")
    for name in original.list():
        copy.write(name, original.read(name))
    return copy


def run(bucket: LocalBucket, *arguments: str) -> Finished:
    return run_in_process(*arguments, "--bucket", bucket.url, "--study", STUDY)


def assert_says(done: Finished, *texts: str) -> None:
    """It ended with 3 and one sentence about the environment, in which all the texts stand."""
    assert done.code == ExitCode.ENVIRONMENT, (done.out, done.err)
    assert done.out == ""
    error = done.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert all(text in error for text in texts), error


def last_segment(bucket: LocalBucket) -> int:
    return max(names.parse_journal_segment(name) or 0 for name in bucket.list(names.journal_prefix(STUDY)))


@pytest.mark.parametrize("lost", ["the first", "one in the middle", "several", "all but the last", "all"])
def test_every_reader_names_the_first_missing_segment(bucket: LocalBucket, lost: str) -> None:
    last = last_segment(bucket)
    assert last > 5
    numbers = {
        "the first": [1],
        "one in the middle": [4],
        "several": [3, 5],
        "all but the last": list(range(1, last)),
        "all": list(range(1, last + 1)),
    }[lost]
    for number in numbers:
        bucket.delete(names.journal_segment(STUDY, number))
    for arguments in READERS:
        assert_says(run(bucket, *arguments), names.journal_segment(STUDY, numbers[0]), "missing", "from a backup")


def test_a_complete_journal_is_not_accused(bucket: LocalBucket) -> None:
    for arguments in READERS:
        done = run(bucket, *arguments)
        assert done.code == 0, done.err
        assert re.sub(r"[a-z ]+: \d+ s\n", "", done.err) == "", "progress is shown if the machine is slow"


Edit = Callable[[dict[str, Any]], Any]
IMPOSSIBLE: dict[str, tuple[Edit, str]] = {
    "NaN": (lambda m: m.update(accuracy=float("nan")), "accuracy: must be from 0 to 1, got nan"),
    "infinity": (lambda m: m.update(log_loss=float("inf")), "log_loss: must be a finite number, got inf"),
    "an accuracy above 1": (lambda m: m.update(accuracy=1.5), "accuracy: must be from 0 to 1, got 1.5"),
    "a negative count": (lambda m: m.update(validation_images=-1), "validation_images: must not be negative, got -1"),
    "an interval upside down": (
        lambda m: m.update(accuracy_interval_95=m["accuracy_interval_95"][::-1]),
        "accuracy_interval_95: the lower end",
    ),
    "an interval elsewhere": (lambda m: m.update(accuracy_interval_95=[0.0, 0.0001]), "does not contain accuracy"),
    "a matrix of fewer images": (lambda m: m.update(images=m["images"] + 1), "confusion_matrix sum to"),
    "a matrix of another accuracy": (lambda m: m.update(accuracy=0.123), "accuracy is 0.123, but"),
    "a negative cell": (lambda m: m["confusion_matrix"][0].__setitem__(0, -5), "must not be negative, got -5"),
    "a matrix of another shape": (lambda m: m["confusion_matrix"].pop(), "must have 2 rows and columns"),
    "classes without scores": (lambda m: m["per_class"].popitem(), "per_class"),
    "a missing key": (lambda m: m.pop("images"), "images: Field required"),
    "text for a number": (lambda m: m.update(images="many"), "images: Input should be a valid integer"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_impossible_numbers_are_damage(bucket: LocalBucket, kind: str) -> None:
    edit, says = IMPOSSIBLE[kind]
    name = names.evaluation(STUDY, names.METRICS_JSON)
    metrics = json.loads(bucket.read(name))
    edit(metrics)
    bucket.write(name, json.dumps(metrics).encode())
    assert_says(run(bucket, "report"), f"{name} is damaged", says)


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"{", b"[]"])
def test_a_metrics_json_that_is_none_is_damaged_rather_than_absent(bucket: LocalBucket, data: bytes) -> None:
    name = names.evaluation(STUDY, names.METRICS_JSON)
    bucket.write(name, data)
    assert_says(run(bucket, "report"), f"{name} is damaged")
    bucket.delete(name)
    assert_says(run(bucket, "report"), "has no evaluation")


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        (names.PREDICTIONS_CSV, lambda data: data[: len(data) // 2], "it cannot be unpacked"),
        (names.PREDICTIONS_CSV, lambda _: b"garbage", "it cannot be unpacked"),
        (names.MODEL_CARD, lambda _: b"\xff\xfe\x00", "can't decode"),
        (names.MODEL_CARD, lambda _: b"", "it is empty"),
        (names.PROVENANCE_JSON, lambda data: data[:-5], "Invalid JSON"),
        (names.MOST_WRONG_PNG, lambda data: data[:40], ""),
    ],
)
def test_a_damaged_file_beside_the_numbers_is_named(
    bucket: LocalBucket, file: str, damage: Callable[[bytes], bytes], says: str
) -> None:
    name = names.evaluation(STUDY, file)
    bucket.write(name, damage(bucket.read(name)))
    assert_says(run(bucket, "report"), f"{name} is damaged", says)


def test_predictions_of_another_evaluation_are_damage(bucket: LocalBucket) -> None:
    name = names.evaluation(STUDY, names.PREDICTIONS_CSV)
    lines = gzip.decompress(bucket.read(name)).decode().splitlines()
    bucket.write(name, gzip.compress("\n".join([*lines[:-1], ""]).encode()))
    assert_says(run(bucket, "report"), f"{name} is damaged", "do not give the confusion matrix")


def test_an_edited_model_card_is_not_damaged(bucket: LocalBucket) -> None:
    name = names.evaluation(STUDY, names.MODEL_CARD)
    bucket.write(name, bucket.read(name) + "\nOur own notes, in UTF-8: ü.\n".encode())
    assert run(bucket, "report").code == 0
