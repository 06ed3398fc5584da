"""The bucket, which stores everything durable. `open_bucket` opens a bucket by its URL."""

import re
from pathlib import Path

from tuner.bucket.conditional_writes import check_conditional_writes
from tuner.bucket.local import LocalBucket
from tuner.bucket.protocol import Bucket, check_name
from tuner.errors import BucketError, UsageError

__all__ = ["SCHEMES", "Bucket", "check_conditional_writes", "check_name", "is_remote", "local_folder", "open_bucket"]

SCHEMES = ("gs", "s3", "az")
"""Schemes of the URLs of buckets that are not folders."""
_WHAT_WORKS = (
    "Write a folder's path (./bucket, /mnt/bucket), gs://BUCKET/PREFIX, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX."
)
# At least two characters, so that a Windows drive is not a scheme. One slash is enough, so that the mistake
# `gs:/bucket` does not silently become a folder of that name.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_PARTS = re.compile(r"[a-z0-9]+://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*))?", re.DOTALL)


def open_bucket(url: str) -> Bucket:
    """Return the bucket at `url`: a folder's path, `gs://bucket/prefix`, `s3://bucket/prefix` or `az://container/prefix`.

    Apart from searching for credentials, it accesses neither disk nor network. A wrong folder or bucket fails only at
    its first use. Raises UsageError if `url` is invalid, BucketError if no credentials are found.
    """
    if not url.strip():
        raise UsageError(f"The bucket's URL is empty. {_WHAT_WORKS}")
    scheme = _SCHEME.match(url)
    if not scheme:
        return LocalBucket(Path(url))
    if scheme[1] not in SCHEMES:
        raise UsageError(f"The bucket {url!r} cannot be opened: {scheme[1]}:// is not supported. {_WHAT_WORKS}")
    parts = _PARTS.fullmatch(url)
    if not parts:
        raise UsageError(f"The bucket {url!r} has no valid bucket name after {scheme[1]}://. {_WHAT_WORKS}")
    prefix = (parts[2] or "").removesuffix("/")
    if prefix:
        try:
            check_name(prefix)
        except BucketError as error:
            raise UsageError(
                f"The bucket {url!r} has a prefix that is not a valid object name. {_WHAT_WORKS}"
            ) from error
    return _open(scheme[1], parts[1], prefix)


def is_remote(url: str) -> bool:
    """Return whether `url` starts with the scheme of a bucket that is not a folder."""
    return url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def local_folder(url: str) -> Path | None:
    """Return the folder that is the bucket at `url`; None if the bucket is not a folder."""
    return None if _SCHEME.match(url) else Path(url).expanduser().absolute()


def _open(scheme: str, name: str, prefix: str) -> Bucket:
    # The import of google.cloud.storage takes almost a second. A folder and `--help` need neither library.
    if scheme == "gs":
        from tuner.bucket.gcs import GcsBucket, connect

        return GcsBucket(connect(), name, prefix)
    from tuner.bucket.object_services import service_of
    from tuner.bucket.object_store import ObjectStoreBucket

    return ObjectStoreBucket(service_of(scheme, name), prefix)
