"""Checks of the bucket by `chief` and `evaluate` before they import Keras.

With these checks, a mistake is reported within a second. Importing TensorFlow costs 6 s of CPU time. The commands
repeat all checks later.
"""

from tuner import names
from tuner.bucket import Bucket
from tuner.config.settings import Study
from tuner.data.manifest import check_data_set, find_data_set
from tuner.evaluator.run import evaluated
from tuner.study.journal import JournalReader, read_study


def check_chief_data(bucket: Bucket, study: Study, digest: str | None) -> None:
    """Check that the bucket has the data set that a chief needs: `digest`, or the bucket's only data set.

    The data set may be missing if the search has finished, because the chief then reads no data. Raises
    UsageError, DataError, BucketError.
    """
    chosen = find_data_set(bucket, digest)
    if bucket.exists(names.manifest(chosen)):
        return
    reader = JournalReader(bucket, study.name)
    reader.poll()
    if reader.state.finished is None:
        check_data_set(bucket, chosen)


def is_evaluated(bucket: Bucket, study: str) -> bool:
    """Return whether the study's best model has been evaluated. If not, check that the bucket has its data set.

    Raises UsageError, EnvironmentFailure (the search is not finished), NoResultError, DataError.
    """
    if evaluated(bucket, study) is not None:
        return True
    check_data_set(bucket, read_study(bucket, study).data_digest)
    return False
