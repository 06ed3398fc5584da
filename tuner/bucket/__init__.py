"""The bucket: where everything durable is. `open_bucket` makes one from what a user writes."""

import re
from pathlib import Path

from tuner.bucket.local import LocalBucket
from tuner.bucket.protocol import Bucket, check_name
from tuner.errors import BucketError, UsageError

__all__ = ["Bucket", "check_name", "open_bucket"]

_WHAT_WORKS = "Write a folder's path (./bucket, /mnt/bucket) or gs://BUCKET/PREFIX."
# Two letters at least, so that a Windows drive is no scheme; one slash is enough, so that the slip `gs:/bucket` does
# not quietly become a folder of that name.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_GS = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?", re.DOTALL)


def open_bucket(url: str) -> Bucket:
    """Return the bucket that `url` names: a folder's path or `gs://bucket/prefix`.

    Touches neither disk nor network (except that the credentials for `gs://` are looked for): a wrong folder or bucket
    shows at the first use. Raises UsageError if `url` is neither, BucketError where no credentials are found.
    """
    if not url.strip():
        raise UsageError(f"The bucket's URL is empty. {_WHAT_WORKS}")
    found = _SCHEME.match(url)
    if not found:
        return LocalBucket(Path(url))
    if found[1] != "gs":
        raise UsageError(f"The bucket {url!r} cannot be opened: {found[1]}:// is not supported. {_WHAT_WORKS}")
    parts = _GS.fullmatch(url)
    if not parts:
        raise UsageError(f"The bucket {url!r} has no valid bucket name after gs://. {_WHAT_WORKS}")
    prefix = (parts[2] or "").removesuffix("/")
    if prefix:
        try:
            check_name(prefix)
        except BucketError as error:
            raise UsageError(f"The bucket {url!r} has a prefix that is no valid object name. {_WHAT_WORKS}") from error
    # Importing google.cloud.storage takes most of a second; `--help` and folders must not pay for it.
    from tuner.bucket.gcs import GcsBucket, connect

    return GcsBucket(connect(), parts[1], prefix)
