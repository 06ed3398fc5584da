"""A chief whose replacement would fail too ends its own Job, and its workers leave."""

import asyncio
import gc
import json
import logging
from collections.abc import Iterator, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml
from keras_tuner.src import protos

from k8s.chief_job import OwnJob
from tests.support.api_server import cluster_at
from tests.support.command_line import run_in_process
from tests.support.http_server import QuietHandler, serving
from tests.support.service import STUDY, Chief, messages
from tuner import names
from tuner.address import Address
from tuner.bucket.local import LocalBucket
from tuner.chief.clock import now
from tuner.chief.context import ChiefContext
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.monitor import ChiefMonitor
from tuner.chief.own_job import ended_by_lasting_errors
from tuner.chief.server import Chores, serve
from tuner.chief.service import Service
from tuner.config.loading import dump, load
from tuner.config.settings import Study
from tuner.errors import BucketError, CifakeTuneError, ConfigError, FencedError, ReleaseFencedError
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.names import ReleaseId, TrialId
from tuner.search.oracle import Oracle
from tuner.study.chief_end import read_chief_end
from tuner.study.journal import JournalReader, read_study
from tuner.study.records import Opened

OracleStub = protos.get_service_grpc().OracleStub
NIGHT, DAY = ReleaseId("night", "lab"), ReleaseId("day", "office")
POD = {names.ENV_JOB: "night-chief", names.ENV_RELEASE: NIGHT.name, names.ENV_NAMESPACE: NIGHT.namespace}


def opened(term: int, release: ReleaseId | None, study: Study = STUDY) -> Opened:
    name, namespace = (release.name, release.namespace) if release else ("", "")
    return Opened(
        at=0, term=term, writer="w", study=study, data="d" * 64, direction="max", release=name, namespace=namespace
    )


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


# ---- ending the Job ----------------------------------------------------------------------------------
class JobApi(ThreadingHTTPServer):
    """The Kubernetes API, as far as it concerns the chief's own Job."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), JobHandler)
        self.patches: list[tuple[str, object]] = []


class JobHandler(QuietHandler):
    server: JobApi

    def do_GET(self) -> None:  # noqa: N802
        self.answer_json({"spec": {"backoffLimit": 20}, "status": {"active": 1, "failed": 3}})

    def do_PATCH(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.patches.append((self.path, body))
        self.answer_json({})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobApi]:
    with serving(api := JobApi()) as url:
        monkeypatch.setattr("k8s.chief_job.own_job", lambda name: OwnJob(name, cluster_at(url, "lab")))
        yield api


def fail(bucket: LocalBucket, error: CifakeTuneError, environment: Mapping[str, str] = POD) -> None:
    """Be a chief that ends with this error."""
    with ended_by_lasting_errors(environment) as own:
        own.begin(bucket, "cifake")
        raise error


@pytest.mark.parametrize("error", [ConfigError("wrong"), ReleaseFencedError("taken")])
def test_an_error_that_lasts_makes_this_pods_failure_one_too_many(
    api: JobApi, bucket: LocalBucket, error: CifakeTuneError
) -> None:
    with pytest.raises(type(error)):
        fail(bucket, error)
    assert api.patches == [("/apis/batch/v1/namespaces/lab/jobs/night-chief", {"spec": {"backoffLimit": 3}})]
    note = read_chief_end(bucket, "cifake", NIGHT)
    assert note
    assert note.error == str(error)
    assert read_chief_end(bucket, "cifake", DAY) is None


@pytest.mark.parametrize("error", [FencedError("newer"), BucketError("away")])
def test_other_errors_leave_the_job_to_start_the_next_chief(
    api: JobApi, bucket: LocalBucket, error: CifakeTuneError
) -> None:
    with pytest.raises(type(error)):
        fail(bucket, error)
    assert not api.patches
    assert read_chief_end(bucket, "cifake", NIGHT) is None


def test_the_next_chief_of_the_release_takes_the_note_back(api: JobApi, bucket: LocalBucket) -> None:
    with pytest.raises(ConfigError):
        fail(bucket, ConfigError("wrong"))
    with ended_by_lasting_errors(POD) as own:
        own.begin(bucket, "cifake")
    assert read_chief_end(bucket, "cifake", NIGHT) is None


def test_a_chief_that_may_not_end_its_job_says_so_and_ends_with_its_own_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tuner.chief.own_job.RETRY_S", 0.0)  # here, there is no service-account token
    with pytest.raises(ConfigError, match="wrong"), ended_by_lasting_errors(POD):
        raise ConfigError("wrong")
    assert "the Job night-chief cannot be ended, so it will start this chief again: this process has no" in caplog.text


def test_outside_kubernetes_there_is_no_job_and_no_note(bucket: LocalBucket) -> None:
    with pytest.raises(ConfigError):
        fail(bucket, ConfigError("wrong"), {})
    assert not list(bucket.list())


# ---- checking settings -------------------------------------------------------------------------------
def environment_of(bucket: LocalBucket, *settings: str, **more: str) -> dict[str, str]:
    file = Path(bucket.url).with_name("study.yaml")
    file.write_text(yaml.safe_dump(dump(load(settings=settings))))
    return {names.ENV_BUCKET: bucket.url, names.ENV_STUDY_FILE: str(file), **more}


def test_chief_check_refuses_settings_that_the_study_cannot_continue_with(bucket: LocalBucket) -> None:
    JournalWriter(bucket, STUDY.name, "w", 1).write([opened(1, NIGHT, load())])
    done = run_in_process("chief", "--check", environment=environment_of(bucket, "data.batch_size=32"))
    assert done.code == 2
    assert "data.batch_size was 128, is now 32" in done.err
    done = run_in_process("chief", "--check", environment=environment_of(bucket, CIFAKE_TUNE_DATA="e" * 64))
    assert done.code == 2
    assert "was started with the data set dddddddddddd, but this chief has the data set eeeeeeeeeeee" in done.err
    done = run_in_process("chief", "--check", environment=environment_of(bucket, "search.max_trials=50"))
    assert (done.code, done.err) == (0, "")
    assert "study cifake continues with these settings" in done.out
    assert read_study(bucket, "cifake").term == 1


def test_chief_check_lets_an_upgrade_repair_a_bucket(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_in_process("chief", "--check", environment=environment_of(bucket))
    assert done.code == 0
    assert "study cifake begins with these settings" in done.out

    def fail(self: JournalReader) -> None:
        raise BucketError("the bucket is away.")

    monkeypatch.setattr(JournalReader, "poll", fail)
    done = run_in_process("chief", "--check", environment=environment_of(bucket))
    assert done.code == 0
    assert "the settings of study cifake were not checked: the bucket is away." in done.out


def test_a_worker_whose_settings_no_chief_can_serve_ends(bucket: LocalBucket) -> None:
    JournalWriter(bucket, STUDY.name, "w", 1).write([opened(1, NIGHT, load())])
    environment = environment_of(
        bucket, "data.batch_size=32", KERASTUNER_ORACLE_IP="127.0.0.1", KERASTUNER_ORACLE_PORT="1",
        KERASTUNER_TUNER_ID="worker-0", CUDA_VISIBLE_DEVICES="-1",
    )  # fmt: skip
    done = run_in_process("worker", environment=environment)
    assert done.code == 2
    assert "data.batch_size was 128, is now 32" in done.err


# ---- two releases, one study -------------------------------------------------------------------------
@pytest.mark.parametrize(("newer", "ours", "named"), [(DAY, NIGHT, True), (NIGHT, NIGHT, False), (None, NIGHT, False)])
def test_a_chief_fenced_by_another_release_names_it(
    bucket: LocalBucket, newer: ReleaseId | None, ours: ReleaseId, named: bool
) -> None:
    older = JournalWriter(bucket, STUDY.name, "old", 1, release=ours)
    older.write([opened(1, ours)])
    JournalWriter(bucket, STUDY.name, "new", 2, release=newer).write([opened(2, newer)])
    with pytest.raises(FencedError) as fenced:
        older.write([opened(3, ours)])
    assert isinstance(fenced.value, ReleaseFencedError) is named
    assert ("the chief of the release 'day' in the namespace 'office' has taken over" in str(fenced.value)) is named
    assert fenced.value.exit_code == 5


def test_a_fenced_chief_answers_its_callers_and_logs_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk() -> None:
        chief = Chief(tmp_path)
        await chief.start()
        JournalWriter(chief.bucket, STUDY.name, "new", 2).write([opened(2, DAY)])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{chief.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await OracleStub(channel).CreateTrial(messages.CreateTrialRequest(tuner_id="w0"), timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNKNOWN
        assert "has taken over the study" in str(refused.value.details())
        with pytest.raises(FencedError):
            await chief.writing
        await chief.server.stop(0)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(talk())
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []


class BusyChores:
    """Has models to delete and curves to write at all times, so that all background work waits for the journal."""

    def obsolete(self) -> list[str]:
        return ["model"]

    def of_unpromotable(self) -> dict[TrialId, list[str]]:
        return {}

    def ended(self) -> bool:
        return True


def test_all_parts_of_a_fenced_chief_end_with_one_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def serve_fenced() -> None:
        chief = Chief(tmp_path)
        service = Service(Oracle(chief.state, now()), chief.suggester, chief.space, chief.journal)
        JournalWriter(chief.bucket, STUDY.name, "new", 2).write([opened(2, DAY)])
        service.journal.append([opened(3, NIGHT)])
        monitor = ChiefMonitor(chief.bucket, STUDY.name, Monitor(Role.CHIEF))
        context = ChiefContext(chief.bucket, STUDY, "d", Address("127.0.0.1", 0), None, None, monitor)
        busy: Any = BusyChores()
        await serve(service, Chores(busy, busy), context)

    with caplog.at_level(logging.DEBUG), pytest.raises(FencedError):
        asyncio.run(serve_fenced())
    gc.collect()  # asyncio logs the errors of tasks that were never awaited when it deletes them
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
