"""A wall clock that a test shifts while processes run, without rights on the machine: `shifted_clock.c`, preloaded."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
HOUR_S = 3600


class ShiftedClock:
    """The wall clock of the processes that are started in `environment`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._library, self._file = folder / "shifted_clock.so", folder / "shift"
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            pytest.skip("needs Linux and a C compiler (cc)")
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(SOURCE), "-ldl", "-lpthread"]
        subprocess.run(command, check=True, timeout=60)
        self._file.write_bytes(struct.pack("q", 0))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the processes whose clock is shifted."""
        return {"LD_PRELOAD": str(self._library), "SHIFTED_CLOCK": str(self._file)}

    def shift(self, seconds: int) -> None:
        """Set the clock to this many seconds after the true time, or before it."""
        descriptor = os.open(self._file, os.O_WRONLY)
        try:
            os.pwrite(descriptor, struct.pack("q", seconds), 0)
        finally:
            os.close(descriptor)
