"""How long a worker spends on each activity."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class Activity(StrEnum):
    """What a worker is at."""

    WAIT = "wait"  # for a trial
    PREPARE = "prepare"  # load the data, build or load a model
    TRAIN = "train"  # and validate
    CHECKPOINT = "checkpoint"  # save a model, and wait until it and its report have arrived
    INPUT = "input"  # make batches


class Activities:
    """Seconds by activity, those of what is under way included.

    An activity within another interrupts it. In any thread but the one that made this it runs beside: TensorFlow has
    batches made in a thread of their own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._seconds = dict.fromkeys(Activity, 0.0)
        self._present: Activity | None = None
        self._since = time.perf_counter()

    @contextmanager
    def during(self, activity: Activity) -> Iterator[None]:
        """Measure what is done in this block."""
        if threading.get_ident() != self._thread:
            began = time.perf_counter()
            try:
                yield
            finally:
                with self._lock:
                    self._seconds[activity] += time.perf_counter() - began
            return
        before = self._turn_to(activity)
        try:
            yield
        finally:
            self._turn_to(before)

    def seconds(self) -> Mapping[Activity, float]:
        """Return the seconds until now."""
        with self._lock:
            seconds = dict(self._seconds)
            if self._present is not None:
                seconds[self._present] += time.perf_counter() - self._since
        return seconds

    def _turn_to(self, activity: Activity | None) -> Activity | None:
        with self._lock:
            now, before = time.perf_counter(), self._present
            if before is not None:
                self._seconds[before] += now - self._since
            self._present, self._since = activity, now
        return before
