"""Compiled programs that JAX keeps on disk, so that later trials and processes with the same shapes compile nothing.

JAX has such a cache, whose keys contain the program, the version of jaxlib, the XLA flags and the kind of the device.
Only its files are this module's own. JAX writes a file in place, so that a worker that is killed meanwhile leaves
half of a program, which JAX then neither loads nor replaces. It bounds the size only if the package filelock is
installed, and then waits for a lock in each access.
"""

import errno
import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import keras

log = logging.getLogger(__name__)

FOLDER = "compiled"
"""Name of the folder in the cache folder."""
_MAKING = ".making-"
_ABANDONED_S = 3600.0
"""Age of an unfinished file from which its process must have died."""
RESERVE_BYTES = 256 << 20
"""Free space that is left to data and checkpoints, without which a search cannot continue."""
_DIGEST_BYTES = hashlib.sha256().digest_size


def keep_compiled(cache: Path, limit_bytes: int) -> "CompiledPrograms | None":
    """Let JAX keep compiled programs in the cache folder.

    A problem with the folder is logged, and costs nothing but the time to compile.

    Args:
        cache: Cache folder, which processes of different versions and machines may share.
        limit_bytes: Maximum size of all programs in it; 0 keeps none.

    Returns:
        The kept programs; None if none are kept here: without JAX, or if JAX_COMPILATION_CACHE_DIR chooses a folder.
    """
    if keras.backend.backend() != "jax" or not limit_bytes:
        return None
    import jax
    from jax._src import compilation_cache as jax_cache

    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
        return None
    if not hasattr(jax_cache, "get_file_cache"):
        log.warning("compiled programs are not kept, because JAX %s has another kind of cache", jax.__version__)
        return None
    programs = CompiledPrograms(cache / FOLDER, _environment_key(), limit_bytes)
    jax_cache.get_file_cache = lambda path: (programs, path)
    jax_cache.reset_cache()  # in case this process has used another folder
    jax.config.update("jax_compilation_cache_dir", str(programs.folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # a model has dozens of small programs
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # The choices of XLA's autotuner are part of the programs. Its own files would have no limit, and compiling fails
    # if they cannot be written.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    return programs


def _environment_key() -> str:
    """Return the name of the folder for programs of these versions and this processor.

    JAX's keys do not tell processors apart. A program for another one may use instructions that this one lacks, or be
    divided among another number of threads.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [platform.machine(), platform.processor(), str(cores), os.environ.get("NPROC", "")]
    with suppress(OSError):
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU part")
        parts += sorted({line for line in about if line.startswith(kinds)})
    processor = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"jax-{version('jax')}-jaxlib-{version('jaxlib')}-{processor}"


@dataclass(frozen=True)
class _File:
    path: Path
    used_at: float
    size: int


class CompiledPrograms:
    """A folder of compiled programs, which several processes may use at the same time: JAX's `CacheInterface`.

    If all programs, also those of other versions, exceed the limit, those that were not used for longest are deleted.
    """

    def __init__(self, root: Path, environment: str, limit_bytes: int) -> None:
        self.folder = root / environment
        """Folder of the programs of this environment."""
        self._path = self.folder  # JAX's name for it
        self._root = root
        self._limit_bytes = limit_bytes
        self._unchecked_bytes: int | None = None
        """Number of bytes written since the folder's size was determined; None if it never was."""
        self._has_complained = False

    def get(self, key: str) -> bytes | None:
        """Return the program with this key; None if there is none, or it is damaged."""
        path = self.folder / key
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None
        digest, program = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(program).digest() != digest:
            return None  # it is compiled and written again; XLA would crash or compute nonsense
        with suppress(OSError):  # deleted meanwhile, or a file system that is read-only
            os.utime(path)
        return program

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, if there is space for it."""
        size = len(value) + _DIGEST_BYTES
        if size > self._limit_bytes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < RESERVE_BYTES + size:
                raise OSError(errno.ENOSPC, f"less than {RESERVE_BYTES >> 20} MiB of the disk are free")
            self._make_room(size)
            with tempfile.NamedTemporaryFile(prefix=_MAKING, dir=self.folder, delete=False) as file:
                try:
                    file.write(hashlib.sha256(value).digest() + value)
                    file.close()
                    os.replace(file.name, self.folder / key)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            self._complain(error)

    def _make_room(self, size: int) -> None:
        """Delete programs until a new one fits. The folder is read again when a tenth of the limit has been written.

        So several processes that write at the same time exceed the limit by a tenth each at most.
        """
        if self._unchecked_bytes is not None and self._unchecked_bytes + size < self._limit_bytes / 10:
            self._unchecked_bytes += size
            return
        self._unchecked_bytes = size
        files = sorted(self._files(), key=lambda file: file.used_at)
        excess = sum(file.size for file in files) + size - self._limit_bytes
        if excess <= 0:
            return
        excess += self._limit_bytes // 10  # so that not each program deletes one
        for file in files:
            if excess <= 0:
                break
            file.path.unlink(missing_ok=True)
            excess -= file.size

    def _files(self) -> list[_File]:
        """Return the programs of all environments. Delete what died processes left, and folders that became empty."""
        files = []
        for folder in [entry for entry in self._root.iterdir() if entry.is_dir()]:
            entries = list(folder.iterdir())
            for path in entries:
                with suppress(FileNotFoundError):  # another process deletes, too
                    status = path.stat()
                    if not path.name.startswith(_MAKING):
                        files.append(_File(path, status.st_mtime, status.st_size))
                    elif time.time() - status.st_mtime > _ABANDONED_S:
                        path.unlink()
            if not entries and folder != self.folder:
                with suppress(OSError):  # another process has just written to it
                    folder.rmdir()
        return files

    def _complain(self, error: OSError) -> None:
        """Log the first problem. Later programs are tried again, because a full disk may be freed."""
        if not self._has_complained:
            self._has_complained = True
            log.warning(
                "%s: compiled programs cannot be kept (%s), so each process compiles its models again",
                self.folder,
                error.strerror or error,
            )
