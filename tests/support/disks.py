"""Disks that fail: full, read-only, or without rights; skipped with the reason where this machine cannot make them."""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

WITHOUT_ROOTS_RIGHTS = "-dac_override,-dac_read_search"


@contextlib.contextmanager
def small_disk(folder: Path, size_kib: int, files: int = 0) -> Iterator[Path]:
    """Yield a file system of its own, of so many KiB and files (0: any number), mounted at `folder`."""
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={size_kib}k,nr_inodes={files}", "tmpfs"):
        yield folder


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Let nothing be written below `folder`."""
    with _mounted(folder, "--bind", str(folder)):
        _mount("-o", "remount,bind,ro", str(folder))
        yield folder


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[list[str]]:
    """Take everybody's rights at `folder`; yield the command to run a program under that has no more than a user's."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--bounding-set", WITHOUT_ROOTS_RIGHTS]
        if (
            not shutil.which("setpriv")
            or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("root has rights everywhere, and setpriv cannot take them here")
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        yield prefix
    finally:
        folder.chmod(mode)


def resize(folder: Path, size_kib: int) -> None:
    """Give the `small_disk` at `folder` another size."""
    _mount("-o", f"remount,size={size_kib}k", str(folder))


def fill(folder: Path) -> None:
    """Leave no byte free on the disk at `folder`."""
    ballast = os.open(folder / "ballast", os.O_CREAT | os.O_WRONLY)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(ballast, bytes(4096))
    finally:
        os.close(ballast)


def fill_with_files(folder: Path) -> None:
    """Leave room for no other file on the disk at `folder`, which has a limit to their number."""
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (folder / f"ballast-{number}").touch()


@contextlib.contextmanager
def _mounted(folder: Path, *what: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    _mount(*what, str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
