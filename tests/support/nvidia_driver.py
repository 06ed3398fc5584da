"""A machine with NVIDIA GPUs, as a process sees it: `nvidia_driver.c`, found before a real driver."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")


def nvidia_driver(folder: Path, gpus: str, readings: Path | None = None) -> dict[str, str]:
    """Return variables with which a process finds these GPUs. `nvidia_driver.c` explains how they are written.

    The file `readings` is read whenever a process asks for the utilization, memory or power of a GPU.
    """
    folder.mkdir(exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler (cc)")
    if not library.exists():
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            "-Wl,-soname,libnvidia-ml.so.1",
            "-o",
            str(library),
            str(SOURCE),
        ]
        subprocess.run(command, check=True, timeout=60)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH", "")]))
    variables = {"LD_LIBRARY_PATH": path, "NVIDIA_DRIVER": gpus}
    return variables | ({"NVIDIA_READINGS": str(readings)} if readings else {})
