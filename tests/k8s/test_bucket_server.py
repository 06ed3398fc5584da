"""A bucket whose server was killed while it wrote can be listed again, and has lost nothing that was promised."""

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from k8s.bucket_server import ATTRIBUTE, half_written
from tests.support.gcs_emulator import BUCKET, Emulator, running_emulator

LARGE = os.urandom(32 << 20)


def put(server: Emulator, name: str, content: bytes) -> None:
    url = f"{server.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
    with urllib.request.urlopen(urllib.request.Request(url, data=content), timeout=20):
        pass


def listed(server: Emulator) -> str:
    with urllib.request.urlopen(f"{server.url}/storage/v1/b/{BUCKET}/o?prefix=studies/", timeout=20) as answer:
        return str(answer.read(), "utf-8")


def test_what_was_half_written_is_removed_when_it_starts_again(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as server:
        put(server, "studies/whole", b"promised")
        (tmp_path / BUCKET / "studies" / "half").write_bytes(b"hal")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            listed(server)
    with running_emulator(tmp_path) as restarted:
        assert '"name":"studies/whole"' in listed(restarted)
        assert "half" not in listed(restarted)
        assert (tmp_path / BUCKET / "studies" / "whole").read_bytes() == b"promised"


def test_a_server_that_is_killed_while_it_writes_leaves_a_bucket_that_can_be_listed(tmp_path: Path) -> None:
    for attempt in range(5):
        with running_emulator(tmp_path) as server:
            put(server, f"studies/{attempt}", b"promised")
            writing = threading.Thread(target=swallow, args=[server, f"studies/large-{attempt}"])
            writing.start()
            time.sleep(0.02 * attempt)  # whatever it is at then
            os.kill(server.pid, signal.SIGKILL)
            writing.join()
        with running_emulator(tmp_path) as restarted:
            assert all(f'"name":"studies/{number}"' in listed(restarted) for number in range(attempt + 1))


def swallow(server: Emulator, name: str) -> None:
    with suppress(OSError):
        put(server, name, LARGE)


def test_where_there_are_no_extended_attributes_an_object_is_two_files(tmp_path: Path) -> None:
    for name in ("whole", "whole.metadata", "half", "lost.metadata"):
        (tmp_path / name).write_bytes(b"")
    assert {path.name for path in half_written(tmp_path, attributes=False)} == {"half", "lost.metadata"}


def test_where_there_are_an_object_has_one(tmp_path: Path) -> None:
    for name in ("whole", "half"):
        (tmp_path / name).write_bytes(b"")
    os.setxattr(tmp_path / "whole", ATTRIBUTE, b"{}")
    assert [path.name for path in half_written(tmp_path, attributes=True)] == ["half"]
