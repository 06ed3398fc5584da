"""Uploads an attempt's checkpoints and then reports its epochs, in order, while training continues.

An epoch is reported only once its checkpoint is durable, so the epoch from which the chief resumes a trial always has a
checkpoint. While the chief is unreachable, checkpoints are still uploaded, and the reports wait.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tuner.bucket import Bucket
from tuner.errors import BucketError
from tuner.study.evidence import NO_EVIDENCE, Evidence
from tuner.training.checkpoint import sha256
from tuner.worker.chief_client import ChiefClient, Grant, Verdict
from tuner.worker.patience import Patience
from tuner.worker.room import require_room_in_bucket

log = logging.getLogger(__name__)

POLL_S = 0.1


class StoppedTrialError(Exception):
    """The chief has stopped or paused the trial. Its last report is recorded, and its checkpoint is durable."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


@dataclass(frozen=True)
class Epoch:
    """A trained epoch and the name of its checkpoint, which may not have been uploaded yet."""

    number: int
    metrics: dict[str, float]
    checkpoint: str | None
    sha256: str | None = None
    evidence: Evidence = NO_EVIDENCE
    start_s: float | None = None
    """Seconds from the lease to the end of the attempt's first training step, if this is its first epoch."""


class IoThreads:
    """Two threads for all attempts of a worker: one uploads and deletes checkpoints, the other reports epochs."""

    def __init__(self) -> None:
        self.bucket = ThreadPoolExecutor(1, "bucket")
        self.reports = ThreadPoolExecutor(1, "reports")

    def __enter__(self) -> "IoThreads":
        return self

    def __exit__(self, *_: object) -> None:
        for thread in (self.bucket, self.reports):
            thread.shutdown(wait=False, cancel_futures=True)


class EpochReporter:
    """Uploads and reports the epochs of one attempt."""

    def __init__(
        self,
        bucket: Bucket,
        chief: ChiefClient,
        grant: Grant,
        io_threads: IoThreads,
        done: Callable[[Epoch], None],
        patience: Patience | None = None,
    ) -> None:
        """Prepare to report the epochs of an attempt.

        Args:
            bucket: Bucket to which the checkpoints are uploaded.
            chief: Client of the chief that gets the reports.
            grant: The attempt.
            io_threads: Threads for uploads and reports.
            done: Called in the reports' thread with each epoch that the chief has recorded.
            patience: Repeats an upload that fails. Default: a failed upload is not repeated.
        """
        self._bucket = bucket
        self._chief = chief
        self._grant = grant
        self._io_threads = io_threads
        self._done = done
        self._patience = patience or Patience()
        self._abandoned = threading.Event()
        self.failure: Exception | None = None
        """The first failure. After a failure, nothing is uploaded or reported."""
        self._lock = threading.Lock()
        self._open: list[Future[None]] = []
        self._upload: Future[None] | None = None

    def check(self) -> None:
        """Raise the first failure, if any: StoppedTrialError, FencedAttemptError, ReportRefusedError or another."""
        if self.failure is not None:
            raise self.failure

    def await_upload(self, check: Callable[[], None]) -> None:
        """Wait until the last checkpoint is durable. `check` is called repeatedly while waiting, and may raise."""
        while self._upload is not None and not wait([self._upload], POLL_S).done:
            check()
        self.check()

    def upload(self, epoch: Epoch, file: Path) -> None:
        """Upload a checkpoint, remove its file, then report its epoch."""
        self._upload = self._submit(self._io_threads.bucket, lambda: self._upload_and_report(epoch, file))

    def report(self, epoch: Epoch) -> None:
        """Report an epoch whose checkpoint is durable."""
        self._submit(self._io_threads.reports, lambda: self._send_report(epoch))

    def settle(self, check: Callable[[], None]) -> None:
        """Wait until the chief has recorded every epoch. `check` is called repeatedly while waiting, and may raise."""
        while pending := self._pending():
            if not wait(pending, POLL_S).done:
                check()
        self.check()

    def abandon(self) -> None:
        """Upload and report nothing more."""
        self._abandoned.set()

    def delete(self, names: list[str]) -> None:
        """Delete objects in the background. A failure is only logged because it wastes nothing but space."""
        if names:
            self._io_threads.bucket.submit(self._delete, names)

    # ---- in the I/O threads ------------------------------------------------------------------------

    def _upload_and_report(self, epoch: Epoch, file: Path) -> None:
        try:
            if epoch.checkpoint is not None and not self._abandoned.is_set():
                digest = sha256(file)
                self._patience.repeat(partial(self._store, epoch.checkpoint, file), self._pause)
                self.report(replace(epoch, sha256=digest))
        finally:
            file.unlink(missing_ok=True)

    def _store(self, name: str, file: Path) -> None:
        require_room_in_bucket(file.stat().st_size, self._bucket.url)  # so that the chief can still write its journal
        self._bucket.upload(name, file)  # verifies the stored object

    def _pause(self, seconds: float) -> bool:
        return not self._abandoned.wait(seconds)

    def _send_report(self, epoch: Epoch) -> None:
        if self._abandoned.is_set():
            return
        verdict = self._chief.report(
            self._grant,
            epoch.number,
            epoch.metrics,
            epoch.checkpoint,
            epoch.sha256,
            self._abandoned,
            epoch.evidence,
            epoch.start_s,
        )
        self._done(epoch)
        if verdict:
            raise StoppedTrialError(verdict)

    def _delete(self, names: list[str]) -> None:
        for name in names:
            try:
                self._bucket.delete(name)
            except BucketError as error:
                log.warning("a checkpoint that is no longer needed was not deleted: %s", error)

    # ---- inside --------------------------------------------------------------------------------------

    def _submit(self, thread: ThreadPoolExecutor, work: Callable[[], None]) -> "Future[None]":
        future = thread.submit(self._guarded, work)
        with self._lock:
            self._open = [*(other for other in self._open if not other.done()), future]
        return future

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.failure = self.failure or error
            self._abandoned.set()

    def _pending(self) -> list[Future[None]]:
        with self._lock:
            return [future for future in self._open if not future.done()]
