"""What an attempt logs and prints reaches the bucket soon, complete and limited, without delaying the attempt."""

# ruff: noqa: T201  (printing is what is tested)

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.errors import BucketError
from tuner.study.attempt_logs import Line, LineSource, parse_line
from tuner.worker import log_writer
from tuner.worker.log_writer import LogWriter

log = logging.getLogger("tuner.tests")


class MoodyBucket(LocalBucket):
    """A bucket that can be made to fail or to wait."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fails = False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, name: str, data: bytes) -> None:
        assert self.gate.wait(30)
        if self.fails:
            raise BucketError("no space is left there")
        super().write(name, data)


@pytest.fixture
def bucket(tmp_path: Path) -> MoodyBucket:
    return MoodyBucket(tmp_path / "bucket")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    # Not of "tuner": what threads of earlier tests still log must not be recorded with these lines.
    log.setLevel(logging.INFO)
    yield
    log.setLevel(logging.NOTSET)


@pytest.fixture
def writer(bucket: MoodyBucket) -> Iterator[LogWriter]:
    with LogWriter(bucket, "cifake") as log_writer:
        yield log_writer
    bucket.gate.set()


def lines(bucket: LocalBucket, attempt: int = 1) -> list[Line]:
    parts = list(bucket.list(f"{names.logs_prefix('cifake', '00000')}{attempt}/"))
    return [parse_line(text) for part in parts for text in bucket.read(part).decode().splitlines()]


def texts(bucket: LocalBucket, attempt: int = 1) -> list[tuple[str, str]]:
    return [(line.source.value, line.text) for line in lines(bucket, attempt)]


def eventually(see: Callable[[], object], expected: object, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while (seen := see()) != expected:
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)


def test_log_lines_and_prints_are_kept_in_order_with_their_time(bucket: MoodyBucket, writer: LogWriter) -> None:
    began = time.time()
    with writer.recording("00000", 1):
        log.info("epoch 1")
        print("mine")
        print("to stderr", file=sys.stderr)
        log.warning("two\nlines")
    writer.flush(10)
    assert texts(bucket) == [
        ("log", "epoch 1"),
        ("out", "mine"),
        ("err", "to stderr"),
        ("log", "two"),
        ("log", "lines"),
    ]
    assert all(began - 0.001 <= line.at <= time.time() for line in lines(bucket))


def test_what_is_printed_is_printed_all_the_same(writer: LogWriter, capsys: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr
    with writer.recording("00000", 1):
        print("mine")
        print("to stderr", file=sys.stderr)
        assert sys.stdout.encoding == streams[0].encoding
    assert (sys.stdout, sys.stderr) == streams
    assert capsys.readouterr() == ("mine\n", "to stderr\n")


def test_lines_arrive_while_the_attempt_goes_on(bucket: MoodyBucket, writer: LogWriter) -> None:
    with writer.recording("00000", 1):
        log.info("first")
        eventually(lambda: texts(bucket), [("log", "first")])
        log.info("second")
        eventually(lambda: texts(bucket), [("log", "first"), ("log", "second")])


def test_attempts_do_not_mix(bucket: MoodyBucket, writer: LogWriter) -> None:
    for attempt in (1, 2):
        with writer.recording("00000", attempt):
            log.info("attempt %d", attempt)
        log.info("between")
        print("between")
    writer.flush(10)
    assert [texts(bucket, attempt) for attempt in (1, 2)] == [[("log", "attempt 1")], [("log", "attempt 2")]]


def test_a_flush_waits_for_what_came_while_the_part_before_was_being_written(
    bucket: MoodyBucket, writer: LogWriter
) -> None:
    for attempt in range(1, 40):  # each end has the writer at work as the next attempt begins
        with writer.recording("00000", attempt):
            log.info("attempt %d", attempt)
        if attempt % 3 == 0:
            writer.flush(10)
            assert texts(bucket, attempt) == [("log", f"attempt {attempt}")]


def test_of_a_progress_bar_the_last_state_is_kept(bucket: MoodyBucket, writer: LogWriter) -> None:
    with writer.recording("00000", 1):
        for step in range(1000):
            sys.stdout.write(f"\r{step}/999")
        print()
        sys.stdout.write("no newline at the end")
    writer.flush(10)
    assert texts(bucket) == [("out", "999/999"), ("out", "no newline at the end")]


def test_what_is_kept_is_bounded_and_says_so(
    bucket: MoodyBucket, writer: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "KEPT_BYTES", 1 << 20)
    with writer.recording("00000", 1):
        for _ in range(30):
            print("x" * 100_000)
        for _ in range(300):
            print("y" * 10_000)
        log.info("the worker's own lines are kept")
    writer.flush(10)
    entries = texts(bucket)
    assert sum(len(text) for _, text in entries) < 1.1 * (1 << 20)
    assert entries[-2:] == [
        ("out", "[more than 1 MiB: the rest is not kept]"),
        ("log", "the worker's own lines are kept"),
    ]


def test_a_bucket_that_hangs_holds_nobody_up(bucket: MoodyBucket) -> None:
    bucket.gate.clear()
    with LogWriter(bucket, "cifake") as writer:
        began = time.monotonic()
        with writer.recording("00000", 1):
            for number in range(100):
                log.info("%d", number)
        assert time.monotonic() - began < 1.0
        writer.flush(0.1)
        bucket.gate.set()
    assert [text for _, text in texts(bucket)] == [str(number) for number in range(100)]


def test_lines_wait_while_the_bucket_fails_and_none_is_lost_or_doubled(bucket: MoodyBucket, writer: LogWriter) -> None:
    bucket.fails = True
    with writer.recording("00000", 1):
        log.info("first")
        writer.flush(10)
        log.info("second")
        writer.flush(10)
        assert texts(bucket) == []
        bucket.fails = False
    writer.flush(10)
    lines = texts(bucket)
    warning = "lines of the log are kept in memory"
    assert [text for _, text in lines if not text.startswith(warning)] == ["first", "second"]
    assert len(lines) == 3  # with one warning


def test_an_exception_in_the_attempt_passes_through(bucket: MoodyBucket, writer: LogWriter) -> None:
    stdout = sys.stdout
    with contextlib.suppress(ZeroDivisionError), writer.recording("00000", 1):
        print("before")
        raise ZeroDivisionError
    assert sys.stdout is stdout
    writer.flush(10)
    assert texts(bucket) == [("out", "before")]


@pytest.mark.parametrize("text", ["", "garbage", "2026-01-01T00:00:00.000Z nowhere text"])
def test_a_line_that_nobody_wrote_keeps_its_text(text: str) -> None:
    assert parse_line(text) == Line(at=0.0, source=LineSource.LOG, text=text)
