"""Keeps what an attempt logs and prints, in the bucket, as it comes.

A thread writes a part every few seconds. Nothing here holds training up: lines wait in memory while the bucket is slow,
up to a bound, and one that fails costs lines and nothing else.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError
from tuner.study.attempt_logs import Line, LineSource

log = logging.getLogger(__name__)

FLUSH_S = 2.0
FLUSH_AT_MOST_S = 60.0
FLUSH_SHARE = 1 / 30
"""A part is written after so large a share of the attempt's time: a day makes some 1,500 parts, not 40,000."""
KEPT_BYTES = 4 << 20
"""Of what is printed in one attempt, and as much of what is logged; the rest is dropped, and a line says so."""
LINE_CHARACTERS = 8192
END_S = 5.0
"""The end of the worker waits so long for the last part."""


class LogWriter:
    """Writes the logs of a worker's attempts, one after the other. Use as a context manager."""

    def __init__(self, bucket: Bucket, study: str) -> None:
        self._bucket = bucket
        self._study = study
        self._recordings: list[_Recording] = []
        self._changed = threading.Condition()
        self._asked = self._served = 0
        """How often it was asked to write at once, and up to which of these it has."""
        self._over = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> "LogWriter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join(END_S)

    @contextmanager
    def recording(self, trial_id: str, attempt: int) -> Iterator[None]:
        """Keep all that is logged and printed in this block."""
        recording = _Recording(trial_id, attempt)
        with self._changed:
            self._recordings.append(recording)
        handler = _Handler(recording)
        logging.getLogger().addHandler(handler)
        streams = sys.stdout, sys.stderr
        tees = _Tee(sys.stdout, recording, LineSource.OUT), _Tee(sys.stderr, recording, LineSource.ERR)
        sys.stdout, sys.stderr = tees
        try:
            yield
        finally:
            if (sys.stdout, sys.stderr) == tees:
                sys.stdout, sys.stderr = streams
            logging.getLogger().removeHandler(handler)
            recording.close()
            self._wake()

    def flush(self, timeout_s: float) -> None:
        """Write what there is, and wait for it for a time."""
        deadline = time.monotonic() + timeout_s
        asked = self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._served >= asked, max(0.0, deadline - time.monotonic()))

    def _wake(self) -> int:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return self._asked

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._served or self._over, self._pause_s())
                asked, over = self._asked, self._over
                recordings = list(self._recordings)
            for recording in recordings:
                if not self._write(recording):
                    break
            with self._changed:
                self._recordings = [each for each in self._recordings if not each.done]
                self._served = asked
                self._changed.notify_all()
            if over:
                return

    def _pause_s(self) -> float:
        newest = self._recordings[-1] if self._recordings else None
        age_s = newest.age_s if newest else 0.0
        return min(FLUSH_AT_MOST_S, max(FLUSH_S, age_s * FLUSH_SHARE))

    def _write(self, recording: "_Recording") -> bool:
        """Write all that there is of an attempt; false where the bucket fails."""
        while data := recording.part():
            name = names.attempt_log(self._study, recording.trial_id, recording.attempt, recording.parts)
            try:
                self._bucket.write(name, data)
            except BucketError as error:
                if not self._warned:
                    self._warned = True
                    log.warning("lines of the log wait in memory, the bucket does not take them: %s", error)
                return False
            self._warned = False
            recording.written()
        return True


class _Recording:
    """The lines of one attempt on their way to the bucket."""

    def __init__(self, trial_id: str, attempt: int) -> None:
        self.trial_id = trial_id
        self.attempt = attempt
        self.parts = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._part = b""
        self._unfinished = {LineSource.OUT: "", LineSource.ERR: ""}
        self._left_bytes = {LineSource.LOG: KEPT_BYTES, LineSource.OUT: KEPT_BYTES, LineSource.ERR: KEPT_BYTES}
        self._closed = False

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def done(self) -> bool:
        """Whether all of it is written."""
        with self._lock:
            return self._closed and not self._lines and not self._part

    def logged(self, text: str) -> None:
        """Keep a message, which may have several lines."""
        with self._lock:
            for line in text.splitlines():
                self._keep(LineSource.LOG, line)

    def printed(self, source: LineSource, text: str) -> None:
        """Keep what was printed; the last line may be unfinished."""
        with self._lock:
            if self._closed or self._left_bytes[source] < 0:
                return
            *lines, unfinished = (self._unfinished[source] + text).split("\n")
            for line in lines:
                self._keep(source, _overwritten(line))
            self._unfinished[source] = _overwritten(unfinished)[-LINE_CHARACTERS:]

    def close(self) -> None:
        """Keep nothing more."""
        with self._lock:
            for source, unfinished in self._unfinished.items():
                if unfinished:
                    self._keep(source, unfinished)
            self._unfinished = {LineSource.OUT: "", LineSource.ERR: ""}
            self._closed = True

    def part(self) -> bytes:
        """Return the next part; the same again until `written` is called."""
        with self._lock:
            if not self._part and self._lines:
                self._part = "".join(f"{line}\n" for line in self._lines).encode(errors="replace")
                self._lines = []
            return self._part

    def written(self) -> None:
        """The part is in the bucket."""
        with self._lock:
            self._part = b""
            self.parts += 1

    def _keep(self, source: LineSource, text: str) -> None:
        if self._closed or self._left_bytes[source] < 0:
            return
        text = text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}…"
        line = Line(at=time.time(), source=source, text=text).encoded()
        self._left_bytes[source] -= len(line) + 1
        if self._left_bytes[source] < 0:
            more = f"[more than {KEPT_BYTES >> 20} MiB: what follows is not kept]"
            line = Line(at=time.time(), source=source, text=more).encoded()
        self._lines.append(line)


def _overwritten(line: str) -> str:
    """Return what is seen of a line that was written over, as progress bars do."""
    return line.rstrip("\r").rpartition("\r")[2]


class _Handler(logging.Handler):
    """Passes on what is logged."""

    def __init__(self, recording: _Recording) -> None:
        super().__init__()
        self._recording = recording

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._recording.logged(self.format(record))
        except Exception:
            self.handleError(record)


class _Tee:
    """A stream whose text is also kept."""

    def __init__(self, stream: TextIO, recording: _Recording, source: LineSource) -> None:
        self._stream = stream
        self._recording = recording
        self._source = source

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._recording.printed(self._source, text)
        return written

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
