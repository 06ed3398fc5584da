"""Finds and deletes data sets of a bucket that no study uses, and unpacked copies of them on this machine."""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tuner import names
from tuner.bucket import Bucket
from tuner.data.prepare import Prepared
from tuner.errors import BucketError, JournalError, NewerFormatError, ObjectNotFoundError, UsageError
from tuner.study.journal import JournalReader

RECENT_S = 86_400.0
"""Age in seconds from which a cache may be deleted that belongs to a study of another bucket."""


@dataclass(frozen=True)
class UnusedDataSet:
    """A packed data set that no study uses."""

    digest: str
    size_bytes: int


@dataclass(frozen=True)
class UnusedCache:
    """A folder of unpacked arrays of a data set that no study of the bucket uses. It can be recreated."""

    path: Path
    size_bytes: int


@dataclass(frozen=True)
class Unused:
    """What can be deleted."""

    data_sets: tuple[UnusedDataSet, ...]
    caches: tuple[UnusedCache, ...]
    incomplete: tuple[str, ...]
    """Digests of data sets without a manifest. A process may be packing them, so they are not deleted."""

    @property
    def size_bytes(self) -> int:
        """Size of all that can be deleted."""
        return sum(each.size_bytes for each in self.data_sets) + sum(each.size_bytes for each in self.caches)


def find_unused(bucket: Bucket, cache: Path | None) -> Unused:
    """Return what no study of the bucket uses, in the bucket and in the cache folder (None if there is none).

    Raises UsageError if a study cannot be read, because its data set is unknown then, and BucketError.
    """
    used = used_data(bucket)
    unused, incomplete = [], []
    for digest in bucket.folders(names.DATA_PREFIX):
        if digest in used or not _is_digest(digest):
            continue
        if bucket.exists(names.manifest(digest)):
            unused.append(UnusedDataSet(digest, bucket.size_bytes(names.data_prefix(digest))))
        else:
            incomplete.append(digest)
    return Unused(tuple(unused), tuple(_unused_caches(cache, used)), tuple(incomplete))


def delete_unused(bucket: Bucket, unused: Unused) -> None:
    """Delete what was found. The manifest of a data set goes first, so that no study begins with a part of it.

    Raises BucketError.
    """
    for data_set in unused.data_sets:
        bucket.delete(names.manifest(data_set.digest))
        for name in list(bucket.list(names.data_prefix(data_set.digest))):
            bucket.delete(name)
    for cached in unused.caches:
        try:
            shutil.rmtree(cached.path)
        except OSError as error:
            raise BucketError(
                f"{cached.path} cannot be deleted ({error.strerror}). Delete this folder yourself."
            ) from None


def used_data(bucket: Bucket) -> set[str]:
    """Return the digests of the data sets that studies use or, according to `data prepare`, are about to use.

    Raises UsageError if a study cannot be read.
    """
    used = set()
    for study in bucket.folders(names.STUDIES_PREFIX):
        reader = JournalReader(bucket, study)
        try:
            reader.poll()
        except (JournalError, NewerFormatError) as error:
            raise UsageError(
                f"study {study!r} cannot be read, so its data set is unknown, and nothing was deleted. Repair or "
                f"delete the study first. {error}"
            ) from None
        used.add(reader.state.data_digest)
    for name in bucket.list(names.DATA_PREFIX + "prepared/"):
        try:
            used.add(Prepared.model_validate_json(bucket.read(name)).digest)
        except ObjectNotFoundError:  # deleted meanwhile
            continue
        except (ValidationError, NewerFormatError):
            raise UsageError(
                f"{bucket.url}: {name} cannot be read, so the data set that it names is unknown, and nothing was "
                "deleted. Delete this object, or use a newer version of cifake-tune."
            ) from None
    return used


def _unused_caches(cache: Path | None, used: set[str]) -> Iterator[UnusedCache]:
    if cache is None or not cache.is_dir():
        return
    for path in sorted(cache.iterdir()):
        is_data = _is_digest(path.name) and path.is_dir() and not path.is_symlink()
        # a study of another bucket may be unpacking it
        if is_data and path.name not in used and time.time() - path.stat().st_mtime > RECENT_S:
            yield UnusedCache(path, sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))


def _is_digest(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}", name) is not None
