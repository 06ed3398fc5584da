"""Health and readiness over HTTP, and a blocked event loop."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tests.support.gcs_emulator import free_port
from tests.support.scrape import Answer, get, scrape, until
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.monitor import ChiefMonitor
from tuner.errors import NoResultError
from tuner.monitoring import endpoint
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import FINE, Monitor, Phase, always, in_loop, loop_check, serving
from tuner.monitoring.metric_names import Metric
from tuner.study.state import StudyState
from tuner.study.status import EvaluationSummary


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


def test_health_and_readiness_are_200_or_503_with_the_reason() -> None:
    monitor = Monitor(Role.WORKER, "night")
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        at = f"{address.host}:{address.port}"
        assert get(at, names.HTTP_HEALTHY) == Answer(HTTPStatus.OK, "ok\n")
        assert get(at, names.HTTP_READY) == Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the process is starting\n")
        assert scrape(at).value(Metric.READY, role="worker") == 0
        monitor.enter(Phase(ready=always(FINE), healthy=always("the heartbeat is late")))
        assert get(at, names.HTTP_READY).status == HTTPStatus.OK
        assert get(at, names.HTTP_HEALTHY) == Answer(HTTPStatus.SERVICE_UNAVAILABLE, "the heartbeat is late\n")
        assert scrape(at).value(Metric.READY, role="worker") == 1


def test_every_sample_names_its_study() -> None:
    with serving(Monitor(Role.CHIEF, "night"), {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        text = scrape(f"{address.host}:{address.port}").text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    assert [sample for sample in samples if 'study="night"' not in sample] == []


def test_nothing_is_served_where_nobody_said_so() -> None:
    with serving(Monitor(Role.CHIEF), {}) as address:
        assert address is None


def test_an_event_loop_that_stands_still_is_not_healthy(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loop_check(loop, lambda: FINE)() == FINE
    monkeypatch.setattr(endpoint, "ANSWER_S", 0.1)
    stuck, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        stuck.set()
        go_on.wait(20)

    loop.call_soon_threadsafe(hang)
    assert stuck.wait(20)
    assert loop_check(loop, lambda: FINE)() == "the process has not answered for 0.1 s"
    go_on.set()
    assert in_loop(loop, lambda: 7, 20) == 7


def test_an_event_loop_that_is_over_is_told_as_one() -> None:
    over = asyncio.new_event_loop()
    over.close()
    with pytest.raises(TimeoutError, match="the event loop is closed"):
        in_loop(over, lambda: None)


def test_the_evaluations_result_is_the_chiefs_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, monitor = LocalBucket(tmp_path), Monitor(Role.CHIEF)
    result = EvaluationSummary(accuracy=0.9, accuracy_interval_95=(0.89, 0.91), images=20_000)
    bucket.write(names.evaluation("night", names.METRICS_JSON), result.model_dump_json().encode())
    chief = ChiefMonitor(bucket, "night", monitor)

    async def done(job_name: str) -> None:
        """Return at once, as if the Job had ended."""

    monkeypatch.setattr("tuner.chief.monitor.run_evaluation", done)
    asyncio.run(chief.evaluate("job"))
    chief.show_finished(StudyState())
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        scraped = scrape(f"{address.host}:{address.port}")
    assert scraped.value(Metric.EVALUATION, state="done") == 1
    assert scraped.value(Metric.ACCURACY) == 0.9
    assert (scraped.value(Metric.ACCURACY_LOWER), scraped.value(Metric.ACCURACY_UPPER)) == (0.89, 0.91)
    assert scraped.value(Metric.EVALUATION_IMAGES) == 20_000


def test_an_evaluation_without_an_accuracy_is_done_and_has_no_accuracy(tmp_path: Path) -> None:
    """That of a space with its own data."""
    bucket = LocalBucket(tmp_path)
    bucket.write(names.evaluation("night", names.METRICS_JSON), b'{"format": "1.4", "results": {"mae": 0.5}}')
    chief = ChiefMonitor(bucket, "night", monitor := Monitor(Role.CHIEF))
    chief.evaluation_done()
    chief.show_finished(StudyState())
    assert chief._evaluation.result == EvaluationSummary(results={"mae": 0.5})
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        scraped = scrape(f"{address.host}:{address.port}")
    assert scraped.value(Metric.EVALUATION, state="done") == 1
    assert Metric.ACCURACY not in scraped.names


@pytest.mark.parametrize("content", ["{}", '{"accuracy": 0.5}', '{"results": {}}', '{"results": {"mae": "low"}}'])
def test_a_result_without_any_numbers_is_damaged(content: str) -> None:
    with pytest.raises(ValidationError):
        EvaluationSummary.model_validate_json(content)


def test_a_chief_that_recovers_says_for_how_long_its_bucket_has_not_answered(tmp_path: Path) -> None:
    bucket, called, go_on = LocalBucket(tmp_path), threading.Event(), threading.Event()

    def hang(name: str) -> bytes:
        called.set()
        go_on.wait(20)
        return b""

    bucket.read = hang  # type: ignore[method-assign]
    chief = ChiefMonitor(bucket, "night", monitor := Monitor(Role.CHIEF))
    recovering = threading.Thread(target=chief.bucket.read, args=["journal"], daemon=True)
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        at = f"{address.host}:{address.port}"
        assert scrape(at).value(Metric.JOURNAL_WAITING) == 0
        recovering.start()
        assert called.wait(20)
        until("the time to be told", lambda: scrape(at).value(Metric.JOURNAL_WAITING) > 0.3)
        go_on.set()
        recovering.join(20)
        assert scrape(at).value(Metric.JOURNAL_WAITING) == 0


def test_an_evaluation_that_failed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(Role.CHIEF)
    chief = ChiefMonitor(LocalBucket(tmp_path), "night", monitor)

    async def fail(job_name: str) -> None:
        raise NoResultError("no model can be loaded")

    monkeypatch.setattr("tuner.chief.monitor.run_evaluation", fail)
    with pytest.raises(NoResultError):
        asyncio.run(chief.evaluate("job"))
    chief.show_finished(StudyState())
    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        scraped = scrape(f"{address.host}:{address.port}")
    assert scraped.value(Metric.EVALUATION, state="failed") == 1
    assert Metric.ACCURACY not in scraped.names


@pytest.mark.slow
def test_a_worker_that_reaches_neither_bucket_nor_chief_shows_its_study(tmp_path: Path) -> None:
    """The alerts tell a study that waits for its chief from one that was uninstalled by its workers."""
    (tmp_path / "study.yaml").write_text("name: night\n")
    address = f"127.0.0.1:{free_port()}"
    environment = {
        names.ENV_BUCKET: "gs://none", "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1", names.ENV_HTTP: address,
        names.ENV_STUDY_FILE: str(tmp_path / "study.yaml"), "CUDA_VISIBLE_DEVICES": "-1",
        names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1", names.ENV_TUNER_ID: "worker-0",
        "KERAS_BACKEND": FASTEST_BACKEND, **JAX_ENVIRONMENT,
    }  # fmt: skip
    command = [str(python_with(FASTEST_BACKEND)), "-m", "cifake_tune", "worker"]
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        text = until("the worker to listen", lambda: scrape(address).text)
    finally:
        process.kill()
        process.wait(20)
    assert 'cifake_tune_ready{role="worker",study="night"} 0.0' in text
