"""A bucket that measures its operations."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry

from tuner.bucket import Bucket
from tuner.errors import BucketError, ObjectExistsError, ObjectNotFoundError
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import counter, histogram


class Operation(StrEnum):
    """The methods of a bucket."""

    READ = "read"
    WRITE = "write"
    CREATE = "create"
    UPLOAD = "upload"
    DOWNLOAD = "download"
    EXISTS = "exists"
    LIST = "list"
    FOLDERS = "folders"
    DELETE = "delete"


class MeasuredBucket:
    """Wraps another bucket and measures its operations. See Bucket for what the methods do and raise."""

    def __init__(self, bucket: Bucket, registry: CollectorRegistry) -> None:
        self.url = bucket.url
        self._bucket = bucket
        seconds, errors = histogram(catalogue.BUCKET, registry), counter(catalogue.BUCKET_ERRORS, registry)
        self._seconds = {operation: seconds.labels(operation.value) for operation in Operation}
        self._errors = {operation: errors.labels(operation.value) for operation in Operation}
        size = counter(catalogue.BUCKET_BYTES, registry)
        self._read, self._written = size.labels("read"), size.labels("written")
        self._numbers = itertools.count()
        self._under_way: dict[int, float] = {}
        """Time at which each unfinished operation started (monotonic). Several threads use this mapping."""

    def waiting_s(self) -> float:
        """Return the seconds since the oldest unfinished operation started; 0 if there is none."""
        now = time.monotonic()
        return now - min(self._under_way.copy().values(), default=now)

    def read(self, name: str) -> bytes:
        """Return the object's bytes."""
        with self._measuring(Operation.READ):
            data = self._bucket.read(name)
        self._read.inc(len(data))
        return data

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the object."""
        with self._measuring(Operation.WRITE):
            self._bucket.write(name, data)
        self._written.inc(len(data))

    def create(self, name: str, data: bytes) -> None:
        """Create the object."""
        with self._measuring(Operation.CREATE):
            self._bucket.create(name, data)
        self._written.inc(len(data))

    def upload(self, name: str, path: Path) -> None:
        """Create or replace the object from a local file."""
        with self._measuring(Operation.UPLOAD):
            self._bucket.upload(name, path)
        self._written.inc(path.stat().st_size)

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file."""
        with self._measuring(Operation.DOWNLOAD):
            self._bucket.download(name, path)
        self._read.inc(path.stat().st_size)

    def exists(self, name: str) -> bool:
        """Return whether the object exists."""
        with self._measuring(Operation.EXISTS):
            return self._bucket.exists(name)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of objects. The measured time includes the caller's work between two names."""
        with self._measuring(Operation.LIST):
            yield from self._bucket.list(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of folders."""
        with self._measuring(Operation.FOLDERS):
            yield from self._bucket.folders(prefix)

    def size_bytes(self, prefix: str) -> int:
        """Return the total size of objects."""
        with self._measuring(Operation.LIST):
            return self._bucket.size_bytes(prefix)

    def delete(self, name: str) -> None:
        """Delete the object."""
        with self._measuring(Operation.DELETE):
            self._bucket.delete(name)

    @contextmanager
    def _measuring(self, operation: Operation) -> Iterator[None]:
        number = next(self._numbers)
        self._under_way[number] = time.monotonic()
        try:
            with self._seconds[operation].time():
                yield
        except (ObjectNotFoundError, ObjectExistsError):
            raise
        except BucketError:
            self._errors[operation].inc()
            raise
        finally:
            del self._under_way[number]
