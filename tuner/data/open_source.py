"""Open the source that a user named: a zip archive, a folder, gs:// or the built-in sample."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tuner.bucket import open_bucket
from tuner.data.folder_source import FolderSource
from tuner.data.sample import SampleSource
from tuner.data.source import Progress, Source, ignore_progress, is_junk
from tuner.data.zip_source import ZipSource
from tuner.errors import DataError
from tuner.temporary_files import temporary_folder

DOWNLOADS = 16
"""Number of objects that are downloaded at the same time from gs://. Each object is small, so latency dominates."""


@contextmanager
def open_source(source: str | None, progress: Callable[[Progress], None] = ignore_progress) -> Iterator[Source]:
    """Yield the source that a user named: a zip archive, a folder, `gs://…`, or None for the built-in sample.

    Files in a bucket are first copied to a temporary folder. Raises DataError if the source is missing or empty.
    """
    if source is None:
        yield SampleSource()
    elif source.startswith("gs://"):
        with temporary_folder() as folder:
            yield _copy(source, Path(folder), progress)
    else:
        path = Path(source)
        if path.is_dir():
            yield FolderSource(path)
        elif path.is_file():
            yield ZipSource(path)
        else:
            raise DataError(f"{source}: there is no such file or folder. Check the path.")


def _copy(url: str, folder: Path, progress: Callable[[Progress], None]) -> Source:
    """Copy `gs://bucket/archive.zip`, or all objects below `gs://bucket/prefix`, to `folder`. Return the copy."""
    parent, _, last = url.rstrip("/").rpartition("/")
    if last.lower().endswith(".zip") and parent != "gs:/":
        archive = folder / "archive.zip"
        progress(Progress("downloading", 0, 1, "files"))
        open_bucket(parent).download(last, archive)
        progress(Progress("downloading", 1, 1, "files"))
        return ZipSource(archive, label=last)
    bucket = open_bucket(url.rstrip("/"))
    names = [name for name in bucket.list() if not name.endswith("/") and not is_junk(name)]
    if not names:
        raise DataError(
            f"{url}: holds no objects. Pass the URL of an archive, or of a folder that contains train/ and test/."
        )
    for parent_of in {name.rpartition("/")[0] for name in names}:
        (folder / parent_of).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        copies = threads.map(lambda name: bucket.download(name, folder / name), names)
        for done, _copied in enumerate(copies, start=1):
            progress(Progress("downloading", done, len(names), "files"))
    return FolderSource(folder, label=last)
