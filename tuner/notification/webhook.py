"""Posts a message to a webhook: with retries, in a thread, and without the URL in any log, because it is a secret."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests

log = logging.getLogger(__name__)

WAIT_S = 10.0
"""Seconds for which the caller waits for the delivery. The thread continues afterwards, as long as the process runs."""
GIVE_UP_S = 300.0
"""Seconds after which the delivery is given up."""
PAUSES_S = (1.0, 30.0)
"""First and longest pause between two tries. Each pause is twice as long as the one before."""
TIMEOUT_S = 5.0
"""Seconds for a connection, and for an answer."""
AGAIN = frozenset({408, 425, 429})
"""Client errors that a later try may not have. Server errors are tried again, too."""

URLLIB3_MODULES = ("connection", "connectionpool", "poolmanager", "response", "util.retry")
"""The modules of urllib3 that log."""


def post(url: str, body: bytes, when_delivered: Callable[[], None] = lambda: None, wait_s: float | None = None) -> bool:
    """Post a JSON document, and return whether it was delivered while this call waited. Raises nothing.

    A delivery that takes longer continues in the background, after a warning. Each failed try is logged, and the last
    one as a warning.

    Args:
        url: URL of the webhook.
        body: The document.
        when_delivered: Called in the thread of the delivery when the document was delivered. It must not raise.
        wait_s: Seconds to wait at most; None for WAIT_S.
    """
    wait_s = WAIT_S if wait_s is None else wait_s
    delivered = threading.Event()
    thread = threading.Thread(target=_deliver, args=(url, body, delivered, when_delivered), name="webhook", daemon=True)
    thread.start()
    thread.join(wait_s)
    if thread.is_alive():
        log.warning("the end of the study is not yet delivered to %s after %g s", masked(url), wait_s)
    return delivered.is_set()


def masked(url: str) -> str:
    """Return the part of a webhook's URL that is no secret: its scheme and host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/…"


class _OtherThreads(logging.Filter):
    """Drops the log records of one thread."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread = thread

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether another thread has logged the record."""
        return record.thread != self._thread


@contextmanager
def _silent_urllib3() -> Iterator[None]:
    """Drop what urllib3 logs in this thread, because its messages contain the URL."""
    every = [logging.getLogger(f"urllib3.{module}") for module in URLLIB3_MODULES]
    others = _OtherThreads(threading.get_ident())
    for logger in every:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in every:
            logger.removeFilter(others)


def _deliver(url: str, body: bytes, delivered: threading.Event, when_delivered: Callable[[], None]) -> None:
    deadline, pause_s = time.monotonic() + GIVE_UP_S, PAUSES_S[0]
    while True:
        problem, may_retry = _try(url, body)
        if not problem:
            when_delivered()
            delivered.set()
            log.info("the end of the study was reported to %s", masked(url))
            return
        if not may_retry or time.monotonic() + pause_s > deadline:
            log.warning("the end of the study could not be reported to %s: %s", masked(url), problem)
            return
        log.info("%s: %s; trying again in %g s", masked(url), problem, pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSES_S[1])


def _try(url: str, body: bytes) -> tuple[str, bool]:
    """Return the problem of one try, which is empty if there is none, and whether another try may help."""
    try:
        with _silent_urllib3():
            answer = requests.post(
                url,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=TIMEOUT_S,
                allow_redirects=False,  # a redirected POST would become a GET
            )
    except requests.RequestException as error:
        return type(error).__name__, True  # its text contains the URL
    if answer.ok and not answer.is_redirect:
        return "", False
    return f"it answered with the status {answer.status_code}", answer.status_code in AGAIN or answer.status_code >= 500
