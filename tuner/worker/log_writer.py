"""Writes the log and the printed output of an attempt to the bucket every few seconds.

A thread writes the parts, so that training never waits for the bucket. While the bucket is slow, lines are kept in
memory, up to a limit. A failure loses lines but has no other effect.
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
"""Interval between two parts as a share of the attempt's age, so that a day has about 1,500 parts instead of 40,000."""
KEPT_BYTES = 4 << 20
"""Maximum size of each stream (log, output, errors) of an attempt. A last line says that the rest is dropped."""
LINE_CHARACTERS = 8192
END_S = 5.0
"""Seconds for which an ending worker waits until the last part is written."""


class LogWriter:
    """Writes the logs of a worker's attempts. Use as a context manager."""

    def __init__(self, bucket: Bucket, study: str) -> None:
        self._bucket = bucket
        self._study = study
        self._recordings: list[_Recording] = []
        self._changed = threading.Condition()
        self._requests = self._served = 0
        """Numbers of received and of served requests to write immediately."""
        self._ended = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> "LogWriter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(END_S)

    @contextmanager
    def recording(self, trial_id: str, attempt: int) -> Iterator[None]:
        """Record everything that is logged and printed in this block."""
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
        """Write all lines so far. Wait until they are written, but at most `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        request = self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._served >= request, max(0.0, deadline - time.monotonic()))

    def _wake(self) -> int:
        with self._changed:
            self._requests += 1
            self._changed.notify_all()
            return self._requests

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._requests > self._served or self._ended, self._pause_s())
                requests, ended = self._requests, self._ended
                recordings = list(self._recordings)
            for recording in recordings:
                if not self._write(recording):
                    break
            with self._changed:
                self._recordings = [recording for recording in self._recordings if not recording.done]
                self._served = requests
                self._changed.notify_all()
            if ended:
                return

    def _pause_s(self) -> float:
        newest = self._recordings[-1] if self._recordings else None
        age_s = newest.age_s if newest else 0.0
        return min(FLUSH_AT_MOST_S, max(FLUSH_S, age_s * FLUSH_SHARE))

    def _write(self, recording: "_Recording") -> bool:
        """Write all parts of an attempt. Return False if the bucket fails."""
        while data := recording.part():
            name = names.attempt_log(self._study, recording.trial_id, recording.attempt, recording.parts)
            try:
                self._bucket.write(name, data)
            except BucketError as error:
                if not self._warned:
                    self._warned = True
                    log.warning(
                        "lines of the log are kept in memory because the bucket cannot be written to: %s", error
                    )
                return False
            self._warned = False
            recording.written()
        return True


class _Recording:
    """The lines of one attempt that are not written yet."""

    def __init__(self, trial_id: str, attempt: int) -> None:
        self.trial_id = trial_id
        self.attempt = attempt
        self.parts = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._part = b""
        self._unfinished = {LineSource.OUT: "", LineSource.ERR: ""}
        self._remaining_bytes = {LineSource.LOG: KEPT_BYTES, LineSource.OUT: KEPT_BYTES, LineSource.ERR: KEPT_BYTES}
        self._closed = False

    @property
    def age_s(self) -> float:
        """Seconds since the attempt began."""
        return time.monotonic() - self._began

    @property
    def done(self) -> bool:
        """Whether the attempt has ended and all its lines are written."""
        with self._lock:
            return self._closed and not self._lines and not self._part

    def logged(self, text: str) -> None:
        """Record a log message, which may have several lines."""
        with self._lock:
            for line in text.splitlines():
                self._keep(LineSource.LOG, line)

    def printed(self, source: LineSource, text: str) -> None:
        """Record printed text, whose last line may be unfinished."""
        with self._lock:
            if self._closed or self._remaining_bytes[source] < 0:
                return
            *lines, unfinished = (self._unfinished[source] + text).split("\n")
            for line in lines:
                self._keep(source, _overwritten(line))
            self._unfinished[source] = _overwritten(unfinished)[-LINE_CHARACTERS:]

    def close(self) -> None:
        """Record nothing more."""
        with self._lock:
            for source, unfinished in self._unfinished.items():
                if unfinished:
                    self._keep(source, unfinished)
            self._unfinished = {LineSource.OUT: "", LineSource.ERR: ""}
            self._closed = True

    def part(self) -> bytes:
        """Return the next part, which remains the same until `written` is called."""
        with self._lock:
            if not self._part and self._lines:
                self._part = "".join(f"{line}\n" for line in self._lines).encode(errors="replace")
                self._lines = []
            return self._part

    def written(self) -> None:
        """Declare that the part is in the bucket."""
        with self._lock:
            self._part = b""
            self.parts += 1

    def _keep(self, source: LineSource, text: str) -> None:
        if self._closed or self._remaining_bytes[source] < 0:
            return
        text = text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}…"
        line = Line(at=time.time(), source=source, text=text).encoded()
        self._remaining_bytes[source] -= len(line) + 1
        if self._remaining_bytes[source] < 0:
            more = f"[more than {KEPT_BYTES >> 20} MiB: the rest is not kept]"
            line = Line(at=time.time(), source=source, text=more).encoded()
        self._lines.append(line)


def _overwritten(line: str) -> str:
    """Return the visible text of a line that a progress bar, for example, has overwritten."""
    return line.rstrip("\r").rpartition("\r")[2]


class _Handler(logging.Handler):
    """Passes log messages to a recording."""

    def __init__(self, recording: _Recording) -> None:
        super().__init__()
        self._recording = recording

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._recording.logged(self.format(record))
        except Exception:
            self.handleError(record)


class _Tee:
    """A stream whose text is also recorded."""

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
