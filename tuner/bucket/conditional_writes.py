"""Check that a bucket refuses to create an object twice, as the journal needs.

If it did not, two chiefs of one study could overwrite each other's records.
"""

import contextlib
from secrets import token_hex

from tuner import names
from tuner.bucket.protocol import Bucket
from tuner.errors import BucketError, ObjectExistsError, UsageError


def check_conditional_writes(bucket: Bucket) -> None:
    """Create the same new object twice, and delete it. Raises UsageError if the second attempt is not refused.

    Raises BucketError if the bucket fails otherwise.
    """
    name = names.probe_object(token_hex(8))
    try:
        bucket.create(name, token_hex(8).encode())
        if not refuses_to_create_again(bucket, name):
            raise UsageError(
                f"The bucket {bucket.url} cannot store a study: it has no conditional writes, since it replaced an "
                "object that must only be created (it ignores If-None-Match). Use a store or a version that has them; "
                "docs/buckets.md lists those that were tested."
            )
    finally:
        with contextlib.suppress(BucketError):
            bucket.delete(name)


def refuses_to_create_again(bucket: Bucket, name: str) -> bool:
    """Return whether the bucket refuses to create an object that exists with other bytes. Raises BucketError."""
    try:
        bucket.create(name, token_hex(8).encode())
    except ObjectExistsError:
        return True
    return False
