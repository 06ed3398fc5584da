"""Download the archive of CIFAKE's authors, and verify the images in it.

GitHub generates archives on request, and their bytes can change whenever GitHub changes its software. Therefore the
images rather than the archive are compared with the digests of the published data set.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from tuner.data.folder_layout import find_layout
from tuner.data.source import Progress, ignore_progress
from tuner.data.zip_source import ZipSource
from tuner.errors import DataError, EnvironmentFailure

REPOSITORY = "https://github.com/jordan-bird/CIFAKE-Real-and-AI-Generated-Synthetic-Images"
COMMIT = "e112a942abaecd02b6b1f6f646c807d56be8fb62"
URL = f"{REPOSITORY}/archive/{COMMIT}.zip"
FILE_NAME = "cifake.zip"

_CONNECT_S, _SILENCE_S = 20, 60
_READ_BYTES = 1 << 20
_SERVER_FAILS = 500
_FETCH_AGAIN = "Delete this archive, and run `cifake-tune data fetch` without --url."


@dataclass(frozen=True)
class ClassFolder:
    """Number and digest of the images of one class in one split."""

    images: int
    sha256: str
    """Hex digest of all files, concatenated in the natural order of their names."""


CIFAKE: Mapping[str, ClassFolder] = {
    "train/REAL": ClassFolder(50_000, "e88678367f5af1161c9ee360dc684dbd5c4dbc001d3745c3398b4ed2b3769c87"),
    "train/FAKE": ClassFolder(50_000, "85da8f503e2f75ec232332bd32a6477d0e6a2239875d0e81e41c2674e21d22b8"),
    "test/REAL": ClassFolder(10_000, "ff06663bf9bea872b36759de020bc3648f3b2d270b2af789728c820daf2748aa"),
    "test/FAKE": ClassFolder(10_000, "4493035eaeb986ccad0564fe41dfc49376e5f6bf19728e17f96d1c475101107c"),
}


class _TryAgainError(Exception):
    """The transfer failed in a way that a retry may fix."""


def fetch(
    target: Path,
    *,
    url: str = URL,
    expected: Mapping[str, ClassFolder] = CIFAKE,
    tries: int = 8,
    longest_wait_s: float = 30,
    progress: Callable[[Progress], None] = ignore_progress,
) -> Path:
    """Download the archive to `target` (a file, or a folder to put it into), verify it, and return its path.

    An existing, valid archive is kept. An interrupted transfer is resumed if the server allows it, also by a later
    call. Raises DataError if the content is not `expected`, EnvironmentFailure if the network fails `tries` times.
    """
    if target.is_dir():
        target /= FILE_NAME
    if target.exists():
        verify(target, expected, progress)
        return target
    partial = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if _download_with_retries(url, partial, tries, longest_wait_s, progress) and not _is_right(partial, expected):
            # the parts may be of two archives, because the server may generate a new archive for each request
            partial.unlink()
            _download_with_retries(url, partial, tries, longest_wait_s, progress)
    except _TryAgainError as error:
        raise EnvironmentFailure(
            f"{url}: the download failed {tries} times, the last time because {error}. Run the same command again "
            f"to resume from {partial.name}."
        ) from None
    except OSError as error:
        raise EnvironmentFailure(
            f"{partial}: cannot be written ({error.strerror or error}). Choose a writable folder with free space."
        ) from None
    try:
        verify(partial, expected, progress)
    except DataError as error:
        partial.unlink()  # the file is complete but wrong, so resuming the download would not help
        raise DataError(f"{url}: {error}") from None
    partial.replace(target)
    return target


def verify(
    archive: Path,
    expected: Mapping[str, ClassFolder] = CIFAKE,
    progress: Callable[[Progress], None] = ignore_progress,
) -> None:
    """Raise DataError if the images in an archive are not those expected."""
    source = ZipSource(archive)
    layout = find_layout(source.entries(), source.name)
    files_of = {
        f"{split}/{name}": files
        for split in layout.splits
        for name, files in zip(layout.classes, layout.splits[split], strict=True)
    }
    if set(files_of) != set(expected):
        raise DataError(
            f"{source.name}: has {', '.join(sorted(files_of))} instead of {', '.join(sorted(expected))}. {_FETCH_AGAIN}"
        )
    total, done = sum(part.images for part in expected.values()), 0
    with source.reader() as read:
        for folder, part in expected.items():
            if len(files_of[folder]) != part.images:
                raise DataError(
                    f"{source.name}: {folder} has {len(files_of[folder]):,} images instead of {part.images:,}. "
                    f"{_FETCH_AGAIN}"
                )
            state = hashlib.sha256()
            for file in files_of[folder]:
                state.update(read(file))
            if state.hexdigest() != part.sha256:
                raise DataError(f"{source.name}: the images in {folder} differ from the published ones. {_FETCH_AGAIN}")
            done += part.images
            progress(Progress("verifying", done, total))


def _is_right(archive: Path, expected: Mapping[str, ClassFolder]) -> bool:
    try:
        verify(archive, expected)
    except DataError:
        return False
    return True


def _download_with_retries(
    url: str, partial: Path, tries: int, longest_wait_s: float, progress: Callable[[Progress], None]
) -> bool:
    """Download, and return whether the file was assembled from several responses."""
    retrying = Retrying(
        retry=retry_if_exception_type(_TryAgainError),
        stop=stop_after_attempt(tries),
        wait=wait_random_exponential(multiplier=min(1, longest_wait_s), max=longest_wait_s),
        reraise=True,
    )
    return retrying(_download, url, partial, progress)


def _download(url: str, partial: Path, progress: Callable[[Progress], None]) -> bool:
    """Append the missing bytes to `partial`, and return whether the transfer was resumed rather than restarted."""
    have_bytes = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(_CONNECT_S, _SILENCE_S)) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if response.headers.get("Content-Range") == f"bytes */{have_bytes}":
                    return True  # the file is complete
                partial.unlink()
                raise _TryAgainError("the file on the server is shorter than the part already downloaded")
            if response.status_code >= _SERVER_FAILS or response.status_code == requests.codes.too_many_requests:
                raise _TryAgainError(f"the server answered {response.status_code} {response.reason}")
            if not response.ok:
                raise DataError(f"{url}: the server answered {response.status_code} {response.reason}. Check the URL.")
            resumed = response.status_code == requests.codes.partial_content and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {have_bytes}-")
            have_bytes = have_bytes if resumed else 0
            length = response.headers.get("Content-Length")
            total_bytes = have_bytes + int(length) if length else 0
            response.raw.enforce_content_length = False  # otherwise, bytes received before a disconnection are lost
            with open(partial, "ab" if resumed else "wb") as stream:
                for data in response.iter_content(_READ_BYTES):
                    stream.write(data)
                    have_bytes += len(data)
                    progress(Progress("downloading", have_bytes, total_bytes, "bytes"))
    except requests.RequestException as error:
        raise _TryAgainError(f"{_innermost(error)}") from None
    if total_bytes and have_bytes < total_bytes:
        raise _TryAgainError(f"the connection ended after {have_bytes:,} of {total_bytes:,} bytes")
    return resumed


def _innermost(error: BaseException) -> str:
    """Return the message of the error that urllib3 and requests have wrapped."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    return str(error) or type(error).__name__
