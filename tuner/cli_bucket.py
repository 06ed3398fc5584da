"""Whose bucket a command reads: the one that is given, or that of a release in its cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tuner.bucket import Bucket, open_bucket
from tuner.cli.options import study_name

if TYPE_CHECKING:
    from k8s.release.release import Release


@contextmanager
def bucket_and_study(
    bucket_url: str, study: str | None, release: str | None, namespace: str | None, context: str | None
) -> Iterator[tuple[Bucket, str | None]]:
    """Open the bucket that a command is to read, and say the study's name as far as it is given."""
    if release is None:
        yield open_bucket(bucket_url), study or study_name()
        return
    from tuner.cli.release import open_release_bucket

    found = load_release(release, namespace, context)
    with open_release_bucket(found) as bucket:
        yield bucket, study or found.study_name()


def load_release(release: str, namespace: str | None, context: str | None) -> "Release":
    """Return a release of the chart. Raises UsageError where there is none, SurroundingsError without a cluster."""
    from k8s.cluster.client import connect
    from k8s.release.release import load

    return load(connect(namespace, context), release)
