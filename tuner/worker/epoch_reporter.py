"""What an attempt delivers while it trains on: its checkpoints to the bucket, then its epochs to the chief, in order.

An epoch is reported when its checkpoint is durable, never before, so the chief's word on where a trial goes on can be
taken. While the chief is away checkpoints are uploaded all the same, and the reports wait for it.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tuner.bucket import Bucket
from tuner.errors import BucketError
from tuner.training.checkpoint import sha256
from tuner.worker.chief_client import ChiefClient, Grant

log = logging.getLogger(__name__)

POLL_S = 0.1


class StoppedTrialError(Exception):
    """The chief has ended the trial, which could not win any more."""


@dataclass(frozen=True)
class Epoch:
    """An epoch that was trained, and the object that its model is to be, or is already."""

    number: int
    metrics: dict[str, float]
    checkpoint: str | None
    sha256: str | None = None


class IoThreads:
    """The two threads that a worker's attempts share, one after the other."""

    def __init__(self) -> None:
        self.bucket = ThreadPoolExecutor(1, "bucket")
        self.reports = ThreadPoolExecutor(1, "reports")

    def __enter__(self) -> "IoThreads":
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.bucket, self.reports):
            each.shutdown(wait=False, cancel_futures=True)


class EpochReporter:
    """Uploads and reports the epochs of one attempt. `done` is called with each that the chief has taken."""

    def __init__(
        self, bucket: Bucket, chief: ChiefClient, grant: Grant, carriers: IoThreads, done: Callable[[Epoch], None]
    ) -> None:
        self._bucket = bucket
        self._chief = chief
        self._grant = grant
        self._carriers = carriers
        self._done = done
        self._over = threading.Event()
        self.failure: Exception | None = None
        """What went wrong first; nothing is uploaded or reported any more."""
        self._lock = threading.Lock()
        self._open: list[Future[None]] = []
        self._upload: Future[None] | None = None

    def check(self) -> None:
        """Raise what went wrong: StoppedTrialError, FencedAttemptError, RefusedError, BucketError, a chief's end."""
        if self.failure is not None:
            raise self.failure

    def await_upload(self, check: Callable[[], None]) -> None:
        """Wait until the last checkpoint is durable; `check` is called meanwhile, and may raise, as our own."""
        while self._upload is not None and not wait([self._upload], POLL_S).done:
            check()
        self.check()

    def upload(self, epoch: Epoch, file: Path) -> None:
        """Upload a checkpoint, then report its epoch; the file is removed."""
        self._upload = self._submit(self._carriers.bucket, lambda: self._carry(epoch, file))

    def report(self, epoch: Epoch) -> None:
        """Report an epoch whose checkpoint is durable."""
        self._submit(self._carriers.reports, lambda: self._tell(epoch))

    def settle(self, check: Callable[[], None]) -> None:
        """Wait until the chief has taken every epoch; `check` is called meanwhile, and may raise, as our own."""
        while still := self._pending():
            if not wait(still, POLL_S).done:
                check()
        self.check()

    def abandon(self) -> None:
        """Upload and report nothing more."""
        self._over.set()

    def delete(self, names: list[str]) -> None:
        """Delete objects, some time; a failure is only logged, since it costs space and nothing else."""
        if names:
            self._carriers.bucket.submit(self._delete, names)

    # ---- in the carriers' threads ------------------------------------------------------------------

    def _carry(self, epoch: Epoch, file: Path) -> None:
        try:
            if epoch.checkpoint is not None and not self._over.is_set():
                digest = sha256(file)
                self._bucket.upload(epoch.checkpoint, file)  # which verifies that what arrived is what was sent
                self.report(Epoch(epoch.number, epoch.metrics, epoch.checkpoint, digest))
        finally:
            file.unlink(missing_ok=True)

    def _tell(self, epoch: Epoch) -> None:
        if self._over.is_set():
            return
        stop = self._chief.report(self._grant, epoch.number, epoch.metrics, epoch.checkpoint, epoch.sha256, self._over)
        self._done(epoch)
        if stop:
            raise StoppedTrialError

    def _delete(self, names: list[str]) -> None:
        for name in names:
            try:
                self._bucket.delete(name)
            except BucketError as error:
                log.warning("a model that is no longer needed stays: %s", error)

    # ---- inside --------------------------------------------------------------------------------------

    def _submit(self, carrier: ThreadPoolExecutor, work: Callable[[], None]) -> "Future[None]":
        future = carrier.submit(self._guarded, work)
        with self._lock:
            self._open = [*(each for each in self._open if not each.done()), future]
        return future

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.failure = self.failure or error
            self._over.set()

    def _pending(self) -> list[Future[None]]:
        with self._lock:
            return [each for each in self._open if not each.done()]
