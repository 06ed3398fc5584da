"""Open the source that a user named: an archive, a folder, a bucket or the built-in sample."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tuner.bucket import is_remote, open_bucket
from tuner.data.folder_source import FolderSource
from tuner.data.image_formats import is_named_as_image
from tuner.data.sample import SampleSource
from tuner.data.source import Progress, Source, ignore_progress, is_junk
from tuner.data.tar_source import SUFFIXES, TarSource, is_compressed, is_tar, unpack
from tuner.data.zip_source import ZipSource
from tuner.errors import DataError
from tuner.temporary_files import temporary_folder

DOWNLOADS = 16
"""Number of objects that are downloaded at the same time from a bucket. Each object is small, so latency dominates."""

_OTHER_ARCHIVES = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
}
_BLOCK_BYTES = 512


class MissingSourceError(DataError):
    """There is no such source, or nothing in it."""


@contextmanager
def open_source(source: str | None, progress: Callable[[Progress], None] = ignore_progress) -> Iterator[Source]:
    """Yield the source that a user named: an archive, a folder, the URL of a bucket, or None for the built-in sample.

    Files in a bucket are first copied to a temporary folder, and compressed tar archives are unpacked there. Raises
    MissingSourceError if the source is missing or empty, and DataError if it is of another kind.
    """
    if source is None:
        yield SampleSource()
        return
    path = Path(source)
    if is_remote(source):
        with temporary_folder() as folder:
            copy, label = _copy(source, Path(folder), progress)
            with _open(copy, label, progress) as opened:
                yield opened
    elif path.is_dir():
        if _is_empty(path):
            raise MissingSourceError(f"{source}: the folder is empty. Check the path.")
        yield FolderSource(path)
    elif path.is_file():
        with _open(path, "", progress) as opened:
            yield opened
    else:
        raise MissingSourceError(f"{source}: there is no such file or folder. Check the path.")


def _is_empty(folder: Path) -> bool:
    """Return whether a folder is empty, such as a mount point without its volume."""
    try:
        return not any(folder.iterdir())
    except OSError:
        return False  # reading the source reports the error


@contextmanager
def _open(path: Path, label: str, progress: Callable[[Progress], None]) -> Iterator[Source]:
    """Yield a local folder or archive as a source with a label, by default its own name."""
    if path.is_dir():
        yield FolderSource(path, label)
        return
    name = label or path.name
    try:
        with open(path, "rb") as stream:
            begin = stream.read(_BLOCK_BYTES)
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}). Make the file readable.") from None
    for magic, kind in _OTHER_ARCHIVES.items():
        if begin.startswith(magic):
            raise DataError(f"{name}: is {kind}, which is not supported. Unpack it, and pass the folder.")
    if not is_tar(begin, name):
        if is_named_as_image(name):
            raise DataError(f"{name}: is a single image. Pass a folder or an archive of images.")
        yield ZipSource(path, label)
    elif not is_compressed(begin):
        yield TarSource(path, label)
    else:
        with temporary_folder() as folder:
            unpacked = Path(folder, "unpacked.tar")
            unpack(path, name, unpacked, progress)
            yield TarSource(unpacked, name)


def _copy(url: str, folder: Path, progress: Callable[[Progress], None]) -> tuple[Path, str]:
    """Copy `gs://bucket/archive.zip`, or all objects below `gs://bucket/prefix`, to `folder`.

    Returns the copy and its name in messages.
    """
    parent, _, last = url.rstrip("/").rpartition("/")
    if last.lower().endswith((".zip", *SUFFIXES)) and not parent.endswith(":/"):
        archive = folder / f"archive{Path(last).suffix}"
        progress(Progress("downloading", 0, 1, "files"))
        open_bucket(parent).download(last, archive)
        progress(Progress("downloading", 1, 1, "files"))
        return archive, last
    bucket = open_bucket(url.rstrip("/"))
    names = [name for name in bucket.list() if not name.endswith("/") and not is_junk(name)]
    if not names:
        raise MissingSourceError(
            f"{url}: holds no objects. Pass the URL of an archive, or of a folder that contains train/ and test/."
        )
    copies = folder / "copies"
    for parent_of in {name.rpartition("/")[0] for name in names}:
        (copies / parent_of).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        downloads = threads.map(lambda name: bucket.download(name, copies / name), names)
        for done, _copied in enumerate(downloads, start=1):
            progress(Progress("downloading", done, len(names), "files"))
    return copies, last
