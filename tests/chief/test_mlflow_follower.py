"""The thread of a chief that reports a study to MLflow: it catches up, and is waited for as long as documented."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_proxy import Faults, running_proxy
from tests.support.growing_study import GrowingStudy, searched
from tests.support.mlflow_server import mlflow_server, shown_runs
from tests.support.scrape import until
from tuner.chief import mlflow_follower
from tuner.chief.mlflow_follower import LAST_WAIT_S, MlflowFollower

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(autouse=True)
def quick(server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(mlflow_follower, "POLL_S", 0.05)
    monkeypatch.setattr(mlflow_follower, "RETRY_S", 0.05)
    caplog.set_level(logging.INFO, "tuner")


def reported(server: str) -> int:
    """Return the number of epochs that the server shows of the study `followed`."""
    return max((len(run.points.get("val_accuracy", ())) for run in shown_runs(server, "followed")), default=0)


def test_it_follows_the_study_while_it_grows(tmp_path: Path, server: str, caplog: pytest.LogCaptureFixture) -> None:
    study = GrowingStudy(tmp_path, "followed")
    follower = MlflowFollower(study.bucket, "followed", server)
    trial = study.start(0, units=8)
    for epoch in range(2):
        study.report(trial, epoch, val_accuracy=0.5)
        until("the epoch", lambda: reported(server) == study.epochs)
    study.complete(trial, 0.5, best_epoch=0)
    study.finish()
    follower.finish()
    assert [run.status for run in shown_runs(server, "followed")] == ["FINISHED", "FINISHED"]
    assert caplog.messages == []


def test_a_server_that_comes_back_gets_everything_and_the_log_has_two_lines(
    tmp_path: Path, server: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = searched(tmp_path, "outage")
    with running_proxy(server, Faults(unavailable=1.0)) as proxy:
        follower = MlflowFollower(study.bucket, "outage", proxy.url)
        until("two requests", lambda: sum(proxy.met.values()) > 1)
        proxy.faults = Faults()
        until("the study", lambda: [run for run in shown_runs(server, "outage") if run.status == "FINISHED"])
        follower.finish()
        origin = proxy.url
    assert len(shown_runs(server, "outage")) == 3
    lines = [record.getMessage() for record in caplog.records if record.name == mlflow_follower.__name__]
    assert len(lines) == 2
    assert f"the MLflow server at {origin} does not answer as expected" in lines[0]
    assert lines[1] == f"the MLflow server at {origin} has been reached again"


def test_a_hung_server_is_waited_for_as_long_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    documented = (DOCS / "export.md").read_text(encoding="utf-8")
    assert f"At the end of a search it waits for {LAST_WAIT_S:g} s at most." in " ".join(documented.split())
    monkeypatch.setattr(mlflow_follower, "LAST_WAIT_S", 0.5)
    study = searched(tmp_path, "hung")
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        follower = MlflowFollower(study.bucket, "hung", f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.settimeout(60)
        with listener.accept()[0]:  # it has called, and waits for the answer
            began = time.monotonic()
            follower.finish()
            assert 0.5 <= time.monotonic() - began < LAST_WAIT_S
    assert "has not taken the whole study within 0.5 s. cifake-tune export mlflow writes" in caplog.messages[-1]
