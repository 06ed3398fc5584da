"""Ends the chief's own Kubernetes Job, and its workers, if a replacement of the chief would fail for the same reason.

The Job has no podFailurePolicy, because such a Job does not replace a chief on a lost node. Without this module, it
would therefore start a chief with wrong settings again and again, while its workers hold their GPUs.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import BucketError, CifakeTuneError, EnvironmentFailure, ReleaseFencedError, UsageError
from tuner.names import ReleaseId
from tuner.study.chief_end import ChiefEnd, delete_chief_end, write_chief_end

log = logging.getLogger(__name__)

TRIES = 5
RETRY_S = 2.0
"""Seconds between two calls of the Kubernetes API, if the first one fails."""


@dataclass
class OwnJobEnd:
    """Ends the Job with this name. Does nothing outside Kubernetes, where there is no Job."""

    job: str
    release: ReleaseId | None
    _bucket: Bucket | None = None
    _study: str = ""

    def begin(self, bucket: Bucket, study: str) -> None:
        """Delete the note of an earlier chief, whose cause may have been fixed. Raises BucketError."""
        self._bucket, self._study = bucket, study
        if self.release:
            delete_chief_end(bucket, study, self.release)

    def end(self, error: CifakeTuneError) -> None:
        """Tell the workers why the chief ends, then make the Job fail together with this process."""
        if self._bucket and self.release:
            try:
                note = ChiefEnd(at=time.time(), error=str(error))
                write_chief_end(self._bucket, self._study, self.release, note)
            except BucketError as failure:
                log.warning("could not tell the workers that the chief is ending: %s", failure)
        if self.job:
            _end_job(self.job)


def _end_job(name: str) -> None:
    from k8s.chief_job import own_job

    for remaining in reversed(range(TRIES)):
        try:
            own_job(name).end()
        except EnvironmentFailure as failure:
            if not remaining:
                log.warning("the Job %s cannot be ended, so it will start this chief again: %s", name, failure)
                return
            time.sleep(RETRY_S)
        else:
            log.info("the Job %s does not start this chief again", name)
            return


@contextmanager
def ended_by_lasting_errors(environment: Mapping[str, str]) -> Iterator[OwnJobEnd]:
    """End the Job that `environment` names if the block raises an error that a replacement of this pod would repeat.

    These errors are a UsageError, and a ReleaseFencedError: two chiefs that replace each other would train little.
    """
    own = OwnJobEnd(environment.get(names.ENV_JOB, ""), names.parse_release(environment))
    try:
        yield own
    except (UsageError, ReleaseFencedError) as error:
        own.end(error)
        raise
