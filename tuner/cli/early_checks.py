"""What `chief` and `evaluate` look up in the bucket before they import Keras: a mistake is answered within a second.

Importing TensorFlow takes 6 s of a core. Nothing is decided here: the commands check everything again themselves.
"""

from tuner import names
from tuner.bucket import Bucket
from tuner.config.settings import Study
from tuner.data.manifest import check_data_set, find_data_set
from tuner.evaluator.run import evaluated
from tuner.study.journal import JournalReader, read_study


def check_chief_data(bucket: Bucket, study: Study, digest: str | None) -> None:
    """Check that the bucket has the data set that a chief needs: `digest`, or the only one.

    A chief whose search is finished reads no data. Raises UsageError, DataError, BucketError.
    """
    chosen = find_data_set(bucket, digest)
    if bucket.exists(names.manifest(chosen)):
        return
    reader = JournalReader(bucket, study.name)
    reader.poll()
    if reader.state.finished is None:
        check_data_set(bucket, chosen)


def is_evaluated(bucket: Bucket, study: str) -> bool:
    """Return whether the study's best model has been evaluated; if not, check that its data set is there.

    Raises UsageError, EnvironmentFailure (the search is not finished), NoResultError, DataError.
    """
    if evaluated(bucket, study) is not None:
        return True
    check_data_set(bucket, read_study(bucket, study).data_digest)
    return False
