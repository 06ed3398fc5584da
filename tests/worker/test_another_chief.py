"""A worker whose address leads to another chief for a moment joins its own; if it stays so, it ends with the reason."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.chief import RunningChief
from tuner.errors import CifakeTuneError, ConfigError, EnvironmentFailure
from tuner.rpc import lease_service, tls
from tuner.rpc.tls_client_errors import connection_problem
from tuner.worker import join_problem
from tuner.worker.chief_client import ChiefClient

HOST = "127.0.0.1"
Other = Callable[[Path], tls.Files | None]
OTHERS: dict[str, tuple[Other, type[CifakeTuneError], str]] = {
    "another authority": (
        lambda folder: Authority(folder).issue("chief", HOST), EnvironmentFailure, "is not signed by the authority in"
    ),
    "no TLS": (lambda _: None, ConfigError, "does not speak TLS"),
}  # fmt: skip


def serve(chief: RunningChief, files: tls.Files | None) -> None:
    chief.stop()
    chief.files = files
    chief.start()


def join(chief: RunningChief, files: tls.Files, timeout_s: float) -> lease_service.Joined:
    with tls.open_channel(chief.address, files, lease_service.OPTIONS) as channel:
        client = ChiefClient(channel, chief.address, "w0", "i", lambda: connection_problem(chief.address, files))
        client.timeout_s = timeout_s
        return client.join()


@pytest.mark.parametrize("other", OTHERS)
def test_a_worker_that_reaches_another_chief_first_joins_its_own(
    tmp_path: Path, chief: RunningChief, other: str
) -> None:
    ours = Authority(tmp_path / "ours")
    own_files = ours.issue("chief", HOST)
    serve(chief, OTHERS[other][0](tmp_path / "other"))
    replacing = threading.Timer(1.5, serve, (chief, own_files))
    replacing.start()
    assert join(chief, ours.issue("w", "w"), 60.0).study == chief.study
    replacing.join()


@pytest.mark.parametrize("other", OTHERS)
def test_a_worker_that_reaches_only_another_chief_ends_with_the_reason(
    tmp_path: Path, chief: RunningChief, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, kind, text = OTHERS[other]
    is_misconfigured = kind is ConfigError
    monkeypatch.setattr(join_problem, "MISCONFIGURED_S", 1.5)
    serve(chief, files(tmp_path / "other"))
    began = time.monotonic()
    with pytest.raises(kind, match=text) as raised:
        join(chief, Authority(tmp_path / "ours").issue("w", "w"), 300.0 if is_misconfigured else 1.5)
    assert type(raised.value) is kind
    assert time.monotonic() - began > 1.5
