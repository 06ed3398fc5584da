"""A trial's log lines over all its attempts, with the attempts' records from the journal."""

import json
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.chief import RunningChief
from tests.worker.conftest import nothing
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import UsageError
from tuner.report.terminal import logs
from tuner.study.attempt_logs import Follower, Line, LineSource, read_log, trials_with_logs
from tuner.study.records import Outcome
from tuner.worker.chief_client import ChiefClient

NOON = 1_782_907_200.0


def write(bucket: LocalBucket, attempt: int, part: int, *texts: str) -> None:
    lines = [Line(at=NOON + attempt, source=LineSource.LOG, text=text).encoded() for text in texts]
    bucket.write(names.attempt_log("cifake", "00000", attempt, part), "".join(f"{line}\n" for line in lines).encode())


@pytest.fixture
def two_attempts(bucket: LocalBucket, chief: RunningChief, new_client: Callable[[str], ChiefClient]) -> LocalBucket:
    """One that failed, and one that runs."""
    first = new_client("worker-0")
    grant = first.next_trial(nothing)
    assert grant is not None
    first.give_back(grant, Outcome.OUT_OF_MEMORY, "no room for 10 TB\nTraceback …")
    assert new_client("worker-1").next_trial(nothing) is not None
    for part in range(11):
        write(bucket, 1, part, f"part {part}")
    write(bucket, 2, 0, "again", "and on")
    return bucket


def test_lines_are_joined_over_attempts_and_parts_in_order(two_attempts: LocalBucket) -> None:
    first, second = read_log(two_attempts, "cifake", "00000")
    assert (first.worker, first.how) == ("worker-0", "out of memory (no room for 10 TB)")
    assert [line.text for line in first.lines] == [f"part {part}" for part in range(11)]
    assert (second.worker, second.how, second.ended) == ("worker-1", "running", None)
    assert [line.text for line in second.lines] == ["again", "and on"]


def test_leading_zeros_may_be_left_out(two_attempts: LocalBucket) -> None:
    assert read_log(two_attempts, "cifake", "0") == read_log(two_attempts, "cifake", "00000")


def test_an_unknown_trial_is_answered_with_those_there_are(two_attempts: LocalBucket) -> None:
    with pytest.raises(UsageError, match=r"no trial '7'\. Study cifake has logs of the trials 00000\."):
        read_log(two_attempts, "cifake", "7")


def test_of_many_trials_some_are_named(bucket: LocalBucket) -> None:
    assert trials_with_logs(bucket, "cifake") == "Study cifake has no logs yet."
    for number in range(30):
        bucket.write(names.attempt_log("cifake", f"{number:05d}", 1, 0), b"")
    assert trials_with_logs(bucket, "cifake").endswith("00018, 00019 and 10 more.")


def test_a_follower_yields_every_line_once(two_attempts: LocalBucket) -> None:
    follower = Follower(two_attempts, "cifake", "00000")
    assert len(list(follower.new_lines())) == 13
    assert list(follower.new_lines()) == []
    write(two_attempts, 2, 1, "more")
    assert [(attempt, line.text) for attempt, line in follower.new_lines()] == [(2, "more")]


def test_following_prints_what_comes_and_ends_with_the_trial(
    bucket: LocalBucket, client: ChiefClient, capsys: pytest.CaptureFixture[str]
) -> None:
    grant = client.next_trial(nothing)
    assert grant is not None
    write(bucket, 1, 0, "first")
    follower = Follower(bucket, "cifake", "0")
    following = threading.Thread(target=logs.follow, args=(follower, False))
    following.start()
    out, deadline = "", time.monotonic() + 20
    while "first" not in out:
        assert time.monotonic() < deadline, out
        time.sleep(0.02)
        out += capsys.readouterr().out
    client.report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
    client.complete(grant)
    write(bucket, 1, 1, "last")
    following.join(20)
    assert not following.is_alive()
    lines = (out + capsys.readouterr().out).splitlines()
    heads = [line.partition(" attempt 1 by w0: ")[2] for line in lines if line.startswith("---- ")]
    assert heads == ["running", "completed"]
    assert [line.split(" log ")[1] for line in lines if " log " in line] == ["first", "last"]


def test_json_has_times_sources_and_endings(two_attempts: LocalBucket, capsys: pytest.CaptureFixture[str]) -> None:
    logs.show(read_log(two_attempts, "cifake", "00000"), as_json=True)
    first, second = json.loads(capsys.readouterr().out)
    assert first["how"].startswith("out of memory")
    assert second["lines"][0] == {"at": NOON + 2, "source": "log", "text": "again"}


def test_text_has_a_header_an_attempt_and_stamped_lines(
    two_attempts: LocalBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.show(read_log(two_attempts, "cifake", "00000"), as_json=False)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("---- ")
    assert out[0].endswith("attempt 1 by worker-0: out of memory (no room for 10 TB)")
    assert out[1] == "2026-07-01T12:00:01.000Z log part 0"
    assert out[12].endswith("attempt 2 by worker-1: running")
