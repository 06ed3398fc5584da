"""Try what a study needs of a bucket: rights, conditional writes, consistency and latency. For any kind of bucket."""

import statistics
import time
from collections.abc import Callable
from secrets import token_hex

from k8s.doctor.findings import Finding, broken, fine, warning
from tuner import names
from tuner.bucket import Bucket
from tuner.bucket.conditional_writes import refuses_to_create_again
from tuner.errors import BucketError

SLOW_MS = 250.0
READS, CREATES = 5, 3


def try_bucket(bucket: Bucket) -> Finding:
    """Return the finding of creating, reading, listing and deleting objects. They are deleted in any case."""
    objects = [names.probe_object(token_hex(8)) for _ in range(CREATES)]
    data = token_hex(8).encode()
    try:
        try:
            create_ms = _median_ms([lambda name=name: bucket.create(name, data) for name in objects])  # type: ignore[misc]
            if not refuses_to_create_again(bucket, objects[0]):
                return broken(
                    "bucket",
                    f"{bucket.url} creates an object although it exists (it ignores conditional writes), so two chiefs "
                    "could overwrite each other's journal",
                    "Use a server or file system with conditional writes: a newer version of this one, or another one.",
                )
            read_ms = _median_ms([lambda: _expect(bucket, objects[0], data)] * READS)
            if missing := set(objects) - set(bucket.list(names.probe_object(""))):
                raise BucketError(f"{bucket.url} does not list {len(missing)} of {CREATES} objects that it contains.")
        finally:
            for name in objects:
                bucket.delete(name)
        if bucket.exists(objects[0]):
            raise BucketError(f"{bucket.url} still has an object that was deleted.")
    except BucketError as error:
        return broken("bucket", str(error).rstrip("."))
    what = (
        f"{bucket.url} creates, reads, lists and deletes objects, and refuses to create one twice; a read takes "
        f"{read_ms:.0f} ms, a create {create_ms:.0f} ms"
    )
    if max(read_ms, create_ms) > SLOW_MS:
        return warning("bucket", what, "Use a bucket in the region of the workers.")
    return fine("bucket", what)


def _expect(bucket: Bucket, name: str, data: bytes) -> None:
    if bucket.read(name) != data:
        raise BucketError(f"{bucket.url} does not return what was written to it; use a strongly consistent bucket.")


def _median_ms(calls: list[Callable[[], None]]) -> float:
    durations_ms: list[float] = []
    for call in calls:
        began = time.monotonic()
        call()
        durations_ms.append((time.monotonic() - began) * 1000)
    return statistics.median(durations_ms)
