"""The shifted clock is one: the wall clock and waits until its times are shifted, the monotonic clock is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shifted_clock import HOUR_S, ShiftedClock

CLOCKS = """
import sys, time
while sys.stdin.readline():
    print(time.time() - time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
"""
WAITING = """
import ctypes, sys, time
class Time(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
library, semaphore = ctypes.CDLL(None), ctypes.create_string_buffer(64)
library.sem_init(semaphore, 0, 0)
deadline = Time(int(time.time()) + int(sys.argv[1]), 0)
print("ready", flush=True)
library.sem_timedwait(semaphore, ctypes.byref(deadline))
"""


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    return ShiftedClock(tmp_path)


def start(clock: ShiftedClock, code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_only_the_wall_clock_is_shifted(clock: ShiftedClock) -> None:
    def reading(process: "subprocess.Popen[str]") -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    with start(clock, CLOCKS) as process:
        true = reading(process)
        for seconds in (-HOUR_S, HOUR_S, 0):
            clock.shift(seconds)
            assert reading(process) - true == pytest.approx(seconds, abs=5)
        process.kill()


def test_a_wait_until_a_time_of_the_wall_clock_ends_when_the_clock_is_set_past_it(clock: ShiftedClock) -> None:
    with start(clock, WAITING, "1800") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        clock.shift(HOUR_S)
        assert process.wait(30) == 0


def test_a_wait_until_a_time_of_the_wall_clock_lasts_when_the_clock_is_set_back(clock: ShiftedClock) -> None:
    with start(clock, WAITING, "3") as process:
        assert process.stdout is not None
        process.stdout.readline()
        clock.shift(-HOUR_S)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
