"""Seconds that a worker spends on each activity."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class Activity(StrEnum):
    """What a worker is doing."""

    WAIT = "wait"  # for a trial
    PREPARE = "prepare"  # load the data, build or load a model
    TRAIN = "train"  # and validate
    CHECKPOINT = "checkpoint"  # save a model, and wait for its upload and report
    INPUT = "input"  # make batches


class Activities:
    """Seconds by activity, including the current one.

    While an activity runs within another one, only the inner activity is counted. Activities of other threads than the
    one that created this object are counted in addition, because TensorFlow makes batches in its own thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._seconds = dict.fromkeys(Activity, 0.0)
        self._current: Activity | None = None
        self._since = time.perf_counter()

    @contextmanager
    def during(self, activity: Activity) -> Iterator[None]:
        """Count the time of this block for an activity."""
        if threading.get_ident() != self._thread:
            began = time.perf_counter()
            try:
                yield
            finally:
                with self._lock:
                    self._seconds[activity] += time.perf_counter() - began
            return
        previous = self._switch_to(activity)
        try:
            yield
        finally:
            self._switch_to(previous)

    def seconds(self) -> Mapping[Activity, float]:
        """Return the seconds so far."""
        with self._lock:
            seconds = dict(self._seconds)
            if self._current is not None:
                seconds[self._current] += time.perf_counter() - self._since
        return seconds

    def _switch_to(self, activity: Activity | None) -> Activity | None:
        with self._lock:
            now, previous = time.perf_counter(), self._current
            if previous is not None:
                self._seconds[previous] += now - self._since
            self._current, self._since = activity, now
        return previous
