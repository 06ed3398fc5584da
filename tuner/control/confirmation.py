"""Waits until a chief has handled a request, which it records in the journal."""

import time
from collections.abc import Callable

from tuner.bucket import Bucket
from tuner.control.request import Request, submit
from tuner.errors import UsageError
from tuner.names import control_request
from tuner.study.journal import JournalReader
from tuner.study.records import Controlled

WAIT_S = 40.0
"""Seconds for which a chief that may be serving is awaited. It answers within seconds, and records its time every 30 s.
"""
SILENT_S = 120.0
"""Seconds since the newest record after which probably no chief is serving."""
SHORT_WAIT_S = 6.0
"""Seconds for which a chief is awaited then, because the clocks of this machine and of the chief's may differ."""
POLL_S = 0.5


def submit_and_await(
    bucket: Bucket,
    study: str,
    request: Request,
    reader: JournalReader,
    sleep: Callable[[float], None] = time.sleep,
) -> Controlled | None:
    """Write a request, and return the record with which the chief confirms or refuses it.

    Return None if no chief has handled the request within WAIT_S. It stays in the bucket then.

    Args:
        bucket: Bucket of the study.
        study: Name of the study.
        request: The request.
        reader: Reader of the study's journal that has been polled. Its state is kept up to date.
        sleep: Waits for a number of seconds.

    Raises:
        UsageError: The search has finished before the request was handled. The request is withdrawn.
        BucketError: The bucket failed.
    """
    last = reader.state.last_record or 0.0
    submit(bucket, study, request)
    deadline = time.monotonic() + (SHORT_WAIT_S if time.time() - last > SILENT_S else WAIT_S)
    while True:
        records = reader.poll()
        for record in records:
            if isinstance(record, Controlled) and record.request == request.id:
                return record
        if reader.state.finished is not None:
            bucket.delete(control_request(study, request.id))
            raise UsageError(f"the search of study {study!r} has finished before the request was handled.")
        if time.monotonic() > deadline:
            return None
        sleep(POLL_S)
