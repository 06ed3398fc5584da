"""Deletes a study, unless a chief may be serving it.

The order of deletion keeps an interrupted deletion repeatable: the journal is deleted last, and its newest segments
first, so that what remains is an older state of the study and no damaged one.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import JournalError, NewerFormatError, UsageError
from tuner.study.journal import JournalReader
from tuner.study.state import StudyState

QUIET_S = 90.0
"""Seconds without a new segment after which no chief is searching. A serving chief records its time every 30 s."""
LONG_SILENT_S = 86_400.0
"""Seconds since the last record after which a study is not watched. The clocks of this machine and of the chief's
differ by less."""
POLL_S = 2.0
EVALUATION_S = 3600.0
"""Seconds after the end of a search in which its evaluation may still be running."""
AT_ONCE = 8
"""Number of objects that are deleted concurrently."""


def require_no_chief(
    bucket: Bucket,
    study: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when it is certain that no chief serves the study. That takes up to `QUIET_S` seconds.

    Raises UsageError if a chief is alive, or if the study's evaluation may be running.
    """
    reader = JournalReader(bucket, study)
    with contextlib.suppress(JournalError, NewerFormatError):  # a damaged study may be deleted, too
        reader.poll()
    state = reader.state
    if state.finished is not None and _may_be_evaluating(bucket, study, state, clock()):
        raise UsageError(
            f"study {study!r} finished its search less than an hour ago and has no evaluation yet, so the evaluation "
            "may be running. Wait for it, or stop the process and try again later."
        )
    if state.finished is not None or (state.last_record is not None and clock() - state.last_record > LONG_SILENT_S):
        return
    known, until = _segments(bucket, study), clock() + QUIET_S
    while clock() < until:
        sleep(POLL_S)
        if _segments(bucket, study) - known:
            raise UsageError(
                f"a chief is serving study {study!r}: it has just written to {bucket.url}. Stop the study first "
                "(Ctrl-C for `run`, `helm uninstall` for a release)."
            )


def _may_be_evaluating(bucket: Bucket, study: str, state: StudyState, now: float) -> bool:
    finished = state.finished
    if finished is None or now - finished.at > EVALUATION_S or state.shared_fault or not state.best():
        return False
    return not bucket.exists(names.evaluation(study, names.METRICS_JSON))


def _segments(bucket: Bucket, study: str) -> set[str]:
    return set(bucket.list(names.journal_prefix(study)))


def delete_study(bucket: Bucket, study: str, progress: Callable[[int], None] = lambda _: None) -> int:
    """Delete all objects of a study, and return their number. Data sets are shared, and stay.

    `progress` is called with the number of objects that have been deleted so far. Raises BucketError.
    """
    journal = names.journal_prefix(study)
    others = (name for name in bucket.list(names.study_prefix(study)) if not name.startswith(journal))
    deleted = 0
    for _ in _deleted(bucket, others):
        deleted += 1
        progress(deleted)
    for name in sorted(bucket.list(journal), reverse=True):
        bucket.delete(name)
        deleted += 1
        progress(deleted)
    bucket.delete(names.prepared(study))
    return deleted


def _deleted(bucket: Bucket, objects: Iterable[str]) -> Iterator[None]:
    """Delete the objects, several at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(bucket.delete, list(objects))
