"""Reports a study to an MLflow server while the chief runs it, in a thread that follows the journal.

The chief never waits for the server, except for a few seconds at the end of a search. What an earlier chief has not
written is in the journal, so this one writes it. `cifake-tune export mlflow` writes what is missing after the last one.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tuner.bucket import Bucket
from tuner.chief.context import ChiefContext
from tuner.errors import CifakeTuneError
from tuner.export.mlflow_server import MlflowStudy
from tuner.study.journal import JournalReader

log = logging.getLogger(__name__)

POLL_S = 2.0
"""Seconds between two looks at the journal."""
RETRY_S = 10.0
"""Seconds after which a server that failed is called again."""
LAST_WAIT_S = 10.0
"""Seconds for which the chief waits at the end of a search until everything is written. docs/export.md names it."""


class MlflowFollower:
    """Writes what the journal of a study records to an MLflow server, until `finish` is called."""

    def __init__(self, bucket: Bucket, study: str, url: str) -> None:
        self._reader = JournalReader(bucket, study)
        self._study = MlflowStudy(bucket, study, url)
        self._ending = threading.Event()
        self._problem = ""
        self._is_written = False
        # as a daemon, it does not keep a process running that ends while the server hangs
        self._thread = threading.Thread(target=self._follow, name="mlflow", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until everything is written, for `LAST_WAIT_S` at most. Then log a warning if something is missing."""
        self._ending.set()
        self._thread.join(LAST_WAIT_S)
        if not self._is_written:
            log.warning(
                "the MLflow server at %s has not taken the whole study within %g s. cifake-tune export mlflow writes "
                "what is missing.",
                self._study.origin,
                LAST_WAIT_S,
            )

    def _follow(self) -> None:
        while not self._ending.wait(RETRY_S if self._problem else POLL_S):
            self._write()
        until = time.monotonic() + LAST_WAIT_S
        self._study.forget()  # a request that seemed to have failed may have created a run since
        self._is_written = False
        while not self._is_written and time.monotonic() < until:
            self._write()
            time.sleep(0 if self._is_written else 1)

    def _write(self) -> None:
        """Write what is new. A problem is logged once, until the server has been reached again."""
        try:
            if not self._reader.poll() and self._is_written:
                return
            self._is_written = False
            self._study.write(self._reader.state)
        except Exception as error:  # whatever it is, the search goes on
            self._is_written = False  # records may have been read before
            problem = str(error) if isinstance(error, CifakeTuneError) else f"internal error ({type(error).__name__})."
            if problem != self._problem:
                log.warning("MLflow does not show the newest state of the study: %s", problem, exc_info=_debug(error))
            self._problem = problem
            return
        if self._problem:
            log.info("the MLflow server at %s has been reached again", self._study.origin)
        self._problem, self._is_written = "", True


def _debug(error: Exception) -> Exception | None:
    return error if log.isEnabledFor(logging.DEBUG) else None


@contextmanager
def followed_by_mlflow(context: ChiefContext) -> Iterator[None]:
    """Report the study to the MLflow server of `tracking.mlflow`, if there is one, while the block runs.

    If the block raises an error, the next chief, or `export mlflow`, writes what is missing.
    """
    url = context.study.tracking.mlflow
    if url is None:
        yield
        return
    follower = MlflowFollower(context.bucket, context.study.name, url)
    yield
    follower.finish()
