"""A bucket whose server was killed while it wrote can be listed again, and has lost nothing that was promised."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from k8s.bucket_server import ATTRIBUTE, half_written
from tests.support.gcs_emulator import binary_path, free_port
from tests.support.scrape import until

LARGE = os.urandom(32 << 20)


class Server:
    """fake-gcs-server on a folder, started as the chart does."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "k8s.bucket_server", str(folder / "b"), str(binary_path())]
        command += ["-backend", "filesystem", "-filesystem-root", str(folder), "-scheme", "http", "-log-level", "error"]
        command += ["-host", "127.0.0.1", "-port", self.url.rpartition(":")[2], "-external-url", self.url]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def put(self, name: str, content: bytes) -> None:
        url = f"{self.url}/upload/storage/v1/b/b/o?uploadType=media&name={name}"
        with urllib.request.urlopen(urllib.request.Request(url, data=content), timeout=20):
            pass

    def listed(self) -> str:
        with urllib.request.urlopen(f"{self.url}/storage/v1/b/b/o?prefix=studies/", timeout=20) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        until("the server", server.listed)
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def test_what_was_half_written_is_removed_when_it_starts_again(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.put("studies/whole", b"promised")
        (tmp_path / "b" / "studies" / "half").write_bytes(b"hal")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            server.listed()
    with serving(tmp_path) as again:
        assert '"name":"studies/whole"' in again.listed()
        assert "half" not in again.listed()
        assert (tmp_path / "b" / "studies" / "whole").read_bytes() == b"promised"


def test_a_server_that_is_killed_while_it_writes_leaves_a_bucket_that_can_be_listed(tmp_path: Path) -> None:
    for attempt in range(5):
        with serving(tmp_path) as server:
            server.put(f"studies/{attempt}", b"promised")
            writing = threading.Thread(target=swallow, args=[server, f"studies/large-{attempt}"])
            writing.start()
            time.sleep(0.02 * attempt)  # whatever it is at then
            server.process.send_signal(signal.SIGKILL)
            writing.join()
        with serving(tmp_path) as again:
            assert all(f'"name":"studies/{each}"' in again.listed() for each in range(attempt + 1))


def swallow(server: Server, name: str) -> None:
    with suppress(OSError):
        server.put(name, LARGE)


def test_where_there_are_no_extended_attributes_an_object_is_two_files(tmp_path: Path) -> None:
    for name in ("whole", "whole.metadata", "half", "lost.metadata"):
        (tmp_path / name).write_bytes(b"")
    assert {path.name for path in half_written(tmp_path, attributes=False)} == {"half", "lost.metadata"}


def test_where_there_are_an_object_has_one(tmp_path: Path) -> None:
    for name in ("whole", "half"):
        (tmp_path / name).write_bytes(b"")
    os.setxattr(tmp_path / "whole", ATTRIBUTE, b"{}")
    assert [path.name for path in half_written(tmp_path, attributes=True)] == ["half"]
