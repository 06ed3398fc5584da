"""Hash, inspect and decode many files in several processes."""

import contextlib
import hashlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import TypeVar

import numpy as np

from tuner.data.decode import Conversion, Examined, ImageHeader, Traits, decode, decode_into, examine
from tuner.data.image_formats import CAMERA_RAW, is_camera_raw
from tuner.data.source import DamagedFileError, File, Source
from tuner.errors import DataError, EnvironmentFailure

Job = TypeVar("Job")
Result = TypeVar("Result")

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
CHUNK_FILES = 2000
CHUNK_BYTES = 8 << 20
"""Limits of a chunk, so that progress is visible after each chunk, and several chunks fit into memory."""

MAX_PROCESSES = 8

ALONE_FILES = 6000
"""Number of files up to which this process finishes before other processes would have started."""
ALONE_BYTES = 16 << 20
"""Total size of files with the same meaning. Photos are few, but each takes long."""


@dataclass(frozen=True)
class FileBatch:
    """Files of a source that one process handles together."""

    source: Source
    files: tuple[File, ...]


@dataclass(frozen=True)
class FileGroup:
    """Images with a property in common, such as their size."""

    count: int
    first: str
    """Path of the group's first image."""


Key = TypeVar("Key")


def add_groups(sums: dict[Key, FileGroup], more: Mapping[Key, FileGroup]) -> None:
    """Add the counts of `more` to `sums`. The first path of each group is kept."""
    for key, group in more.items():
        previous = sums.get(key, FileGroup(0, group.first))
        sums[key] = FileGroup(previous.count + group.count, previous.first)


@dataclass(frozen=True)
class Inspected:
    """Hashes and header data of a chunk's files."""

    sha256: list[str]
    """Hex digest of each file, or "" if the file cannot be read."""
    groups_by_header: dict[ImageHeader, FileGroup]
    """The images, grouped by size and mode."""
    groups_by_traits: dict[Traits, FileGroup]
    """The images that have any trait."""
    damaged: dict[str, str]
    """The reason for each file that cannot be used, by the file's path."""


def inspect(work: FileBatch) -> Inspected:
    """Hash every file and read its header."""
    return _inspect(work, examine)


def inspect_whole(work: FileBatch) -> Inspected:
    """Hash every file, read its header, and decode it completely."""
    return _inspect(work, _decode_whole)


@dataclass(frozen=True)
class DecodeBatch(FileBatch):
    """Files to decode, with the hashes that they had when they were inspected."""

    sha256: tuple[str, ...]
    conversion: Conversion
    shape: tuple[int, int, int]


def decode_chunk(work: DecodeBatch) -> bytes:
    """Return the pixels of the chunk, (files, height, width, 3) uint8 in C order.

    Raises DataError if a file is damaged or has changed since it was inspected.
    """
    pixels = np.empty((len(work.files), *work.shape), np.uint8)
    with work.source.reader() as read:
        for index, file in enumerate(work.files):
            data = read(file)
            if hashlib.sha256(data).hexdigest() != work.sha256[index]:
                raise DataError(
                    f"{file.path}: changed in {work.source.name} while it was being packed. Pack the data again."
                )
            try:
                decode_into(data, pixels[index], work.conversion)
            except DamagedFileError as error:
                raise DataError(f"{file.path}: {error}.") from None
    return pixels.tobytes()


def chunks(files: tuple[File, ...], bytes_each: int) -> Iterator[slice]:
    """Yield consecutive slices of `files`, one per chunk. `bytes_each` is the memory that one file takes."""
    step = max(1, min(CHUNK_FILES, CHUNK_BYTES // max(1, bytes_each)))
    for start in range(0, len(files), step):
        yield slice(start, min(start + step, len(files)))


class Workers:
    """Processes that share work. Results come in the order of the jobs, and only a few are in memory at any time.

    `start` starts the processes. Before that, all work is done in this process, which is faster for a few files.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._ahead = 0

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def start(self, files: int, size_bytes: int = 0) -> None:
        """Start the processes if they do not run yet, there is enough work, and there is more than one core."""
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self._pool is None and (files > ALONE_FILES or size_bytes > ALONE_BYTES) and count > 1:
            count = min(count, MAX_PROCESSES)
            # spawn, because a fork would copy locks that the bucket's threads may hold
            self._pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_follow_parent)
            self._ahead = 3 * count
            with _signals_deferred():
                for _ in range(count):
                    self._pool.submit(_do_nothing)  # otherwise, they would start only with the first jobs

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield `function(job)` for each job, in order."""
        if self._pool is None:
            yield from map(function, jobs)
            return
        ahead: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                ahead.append(self._pool.submit(function, job))
                if len(ahead) > self._ahead:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise EnvironmentFailure(
                "A process that decodes images was killed or has crashed, most often because memory ran out. Provide "
                "at least 1 GiB of memory, or look for the process in the system's log."
            ) from None


def _inspect(work: FileBatch, examine_file: Callable[[bytes], Examined]) -> Inspected:
    result = Inspected([], {}, {}, {})
    with work.source.reader() as read:
        for file in work.files:
            digest = ""
            try:
                data = read(file)
                digest = hashlib.sha256(data).hexdigest()
                if is_camera_raw(file.path):
                    raise DamagedFileError(CAMERA_RAW)
                header, traits = examine_file(data)
            except DamagedFileError as error:
                result.damaged[file.path] = str(error).removeprefix(f"{file.path}: ").removesuffix(".")
            else:
                add_groups(result.groups_by_header, {header: FileGroup(1, file.path)})
                if any(traits):
                    add_groups(result.groups_by_traits, {traits: FileGroup(1, file.path)})
            result.sha256.append(digest)
    return result


def _decode_whole(data: bytes) -> Examined:
    examined = examine(data)
    decode(data, Conversion(convert=True))
    return examined


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Receive SIGINT and SIGTERM at the end of the block.

    Their handlers raise. In a pool that is half started, this would leave a thread that cannot be joined.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _do_nothing() -> None:
    pass


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent ends in any way, such as by SIGKILL.

    Otherwise this process would wait for its next job for ever, because it holds both ends of the queue's pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # inherited from the start of the pool
    threading.Thread(target=_end_after_parent, name="parent", daemon=True).start()


def _end_after_parent() -> None:
    if parent := parent_process():
        parent.join()  # the end of the parent closes a pipe
        os._exit(1)
