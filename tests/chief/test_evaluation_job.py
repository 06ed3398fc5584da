"""Chief and worker as Kubernetes Jobs: what they do if they are restarted, or lack the requested GPUs."""

import asyncio
import json
import os
import re
import subprocess
from contextlib import nullcontext
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from k8s.evaluation_job import EvaluationJob
from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tests.support.api_server import cluster_at
from tests.support.command_line import run_in_process
from tests.support.http_server import QuietHandler, serving
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.evaluation_job import ChiefJob, run_evaluation
from tuner.chief.term import nothing_to_search
from tuner.config.loading import dump, load
from tuner.config.settings import Study
from tuner.errors import ConfigError, EnvironmentFailure, NoResultError
from tuner.study import journal
from tuner.study.journal import read_study
from tuner.study.records import Finished, Opened
from tuner.study.state import StudyState
from tuner.training import devices


def searched(bucket: LocalBucket, study: Study, start: str = "", gave_up: bool = False) -> StudyState:
    """Write the journal of a search that has finished."""
    opened = Opened(at=0, term=1, writer="w", study=study, data="0" * 64, direction="max", start=start)
    finished = Finished(at=1, reason="3 trials failed", failed=gave_up)
    bucket.create(names.journal_segment(study.name, 1), journal.encode(1, "w", [opened, finished]))
    return read_study(bucket, study.name)


def environment_of(bucket: LocalBucket, study: Study) -> dict[str, str]:
    """Return the environment of a pod of this study."""
    file = Path(bucket.url) / "study.yaml"
    file.write_text(yaml.safe_dump(dump(study)))
    return {
        names.ENV_BUCKET: bucket.url, names.ENV_STUDY_FILE: str(file), "CUDA_VISIBLE_DEVICES": "-1",
        names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1", names.ENV_TUNER_ID: "worker-0",
    }  # fmt: skip


def start(bucket: LocalBucket, study: Study, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python_with(FASTEST_BACKEND), "-m", "cifake_tune", command],
        env=os.environ
        | environment_of(bucket, study)
        | {"KERAS_BACKEND": FASTEST_BACKEND, **JAX_ENVIRONMENT}
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def test_a_worker_that_comes_after_the_search_ends_without_its_chief(bucket: LocalBucket) -> None:
    searched(bucket, load())
    done = run_in_process("worker", environment=environment_of(bucket, load()))
    assert done.code == 0, done.err
    assert "the search of study cifake has finished" in done.out


@pytest.mark.slow
def test_a_chief_that_is_replaced_after_the_search_only_starts_the_evaluation(bucket: LocalBucket) -> None:
    searched(bucket, load(), gave_up=False)
    done = start(
        bucket,
        load(),
        "chief",
        **{names.ENV_EVALUATION_JOB: "evaluator", names.ENV_START: "job-2", names.ENV_DATA: "0" * 64},
    )
    assert done.returncode == 4, done.stderr  # there is no trial to evaluate
    assert "no trial of study 'cifake' has both a score and a saved model" in done.stderr
    assert read_study(bucket, "cifake").term == 1


def test_a_search_with_more_trials_goes_on(bucket: LocalBucket) -> None:
    state = searched(bucket, load())
    assert nothing_to_search(state, load(), ChiefJob("evaluator", "job-2"))
    assert not nothing_to_search(state, load(settings=["search.max_trials=20"]), ChiefJob("evaluator", "job-2"))


def test_a_search_that_gave_up_begins_again_when_a_person_starts_it_not_when_its_pod_is_replaced(
    bucket: LocalBucket,
) -> None:
    state = searched(bucket, load(), start="job-1", gave_up=True)
    assert nothing_to_search(state, load(), ChiefJob("evaluator", "job-1"))
    assert not nothing_to_search(state, load(), ChiefJob("evaluator", "job-2"))


def test_a_worker_without_the_gpu_that_it_must_have_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tuner.training.devices.gpu_count", lambda: 0)  # also on a machine that has some
    devices.check({})
    devices.check({names.ENV_GPUS: "0", names.ENV_REQUIRE_GPU: "true"})
    assert not caplog.records
    devices.check({names.ENV_GPUS: "1", names.ENV_REQUIRE_GPU: "false"})
    assert "1 GPU requested" in caplog.text
    assert "so training uses the CPU" in caplog.text
    with pytest.raises(ConfigError, match=r"2 GPUs requested, but .* found none.*workers.requireGPU=false"):
        devices.check({names.ENV_GPUS: "2", names.ENV_REQUIRE_GPU: "true"})


# ---- the evaluation's Job ----------------------------------------------------------------------------
STARTED = {"parallelism": 1, "suspend": False}


class JobsApi(ThreadingHTTPServer):
    """The Kubernetes API, as far as an evaluation needs it; the first request with each method fails."""

    def __init__(self, *ends: str, in_queue: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), JobsHandler)
        self.in_queue = in_queue
        self.ends = iter(ends)
        self.requests: set[tuple[str, str]] = set()
        self.patches: list[tuple[str, object]] = []
        self.failed: set[str] = set()


class JobsHandler(QuietHandler):
    server: JobsApi

    def do_GET(self) -> None:  # noqa: N802
        if self._fails():
            return
        end = next(self.server.ends)
        conditions = [{"type": end, "status": "True"}] if end in ("Complete", "Failed") else []
        spec = {"suspend": end in ("suspended", "queued"), "parallelism": 0 if end == "waiting" else 1}
        labels = {names.LABEL_QUEUE: "team"} if self.server.in_queue else {}
        self.answer_json({"metadata": {"labels": labels}, "spec": spec, "status": {"conditions": conditions}})

    def do_PATCH(self) -> None:  # noqa: N802
        if self._fails():
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.patches.append((self.headers["Content-Type"], body))
        self.answer_json({"spec": body["spec"]})

    def _fails(self) -> bool:
        self.server.requests.add((self.command, self.path))
        if self.command in self.server.failed:
            return False
        self.server.failed.add(self.command)
        self.close_connection = True  # without an answer
        return True


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_the_evaluation_is_started_and_awaited_though_the_api_fails_now_and_then(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    with serving(api := JobsApi("suspended", "", "", end)) as url:
        monkeypatch.setattr("k8s.evaluation_job.in_cluster", lambda name: EvaluationJob(name, cluster_at(url, "here")))
        monkeypatch.setattr("tuner.chief.evaluation_job.POLL_S", 0.01)
        with nullcontext() if end == "Complete" else pytest.raises(NoResultError, match="the evaluation failed"):
            asyncio.run(run_evaluation("evaluator"))
        assert api.patches == [("application/merge-patch+json", {"spec": STARTED})]
        assert next(api.ends, None) is None
        # the chief's Role allows no more than this
        path = "/apis/batch/v1/namespaces/here/jobs/evaluator"
        assert api.requests == {("GET", path), ("PATCH", path)}
        monkeypatch.setattr("tuner.chief.evaluation_job.PATIENCE_S", -1.0)
        api.failed.clear()
        with pytest.raises(EnvironmentFailure, match="cannot be reached"):
            asyncio.run(run_evaluation("evaluator"))


@pytest.mark.parametrize(
    ("patience_s", "starts"), [(0.0, 3), (60.0, 1)], ids=["applied again", "in a queue for a short time"]
)
def test_an_evaluation_that_stays_suspended_is_started_again(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, starts: int
) -> None:
    """`kubectl apply` of the same manifests suspends the Job again, because they were rendered before it started."""
    with serving(
        api := JobsApi(
            "suspended", *(("", "suspended", "suspended") * 2 if starts > 1 else ("", "suspended") * 2), "Complete"
        )
    ) as url:
        monkeypatch.setattr("k8s.evaluation_job.in_cluster", lambda name: EvaluationJob(name, cluster_at(url, "here")))
        monkeypatch.setattr("tuner.chief.evaluation_job.POLL_S", 0.01)
        monkeypatch.setattr("tuner.chief.evaluation_job.SUSPENDED_S", patience_s)
        asyncio.run(run_evaluation("evaluator"))
        assert [body for _, body in api.patches] == [{"spec": STARTED}] * starts


def test_an_evaluation_in_a_queue_of_kueue_is_started_by_its_parallelism_and_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kueue alone resumes it, however long it waits."""
    with serving(api := JobsApi("waiting", *["queued"] * 5, "", "Complete", in_queue=True)) as url:
        monkeypatch.setattr("k8s.evaluation_job.in_cluster", lambda name: EvaluationJob(name, cluster_at(url, "here")))
        monkeypatch.setattr("tuner.chief.evaluation_job.POLL_S", 0.01)
        monkeypatch.setattr("tuner.chief.evaluation_job.SUSPENDED_S", 0.0)
        asyncio.run(run_evaluation("evaluator"))
        assert [body for _, body in api.patches] == [{"spec": {"parallelism": 1}}]


def test_an_evaluation_that_loses_its_parallelism_is_started_again_in_a_queue_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by `kubectl apply` of the same manifests."""
    with serving(api := JobsApi("waiting", "queued", "waiting", "waiting", "Complete", in_queue=True)) as url:
        monkeypatch.setattr("k8s.evaluation_job.in_cluster", lambda name: EvaluationJob(name, cluster_at(url, "here")))
        monkeypatch.setattr("tuner.chief.evaluation_job.POLL_S", 0.01)
        monkeypatch.setattr("tuner.chief.evaluation_job.SUSPENDED_S", 0.0)
        asyncio.run(run_evaluation("evaluator"))
        assert [body for _, body in api.patches] == [{"spec": {"parallelism": 1}}] * 2


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "the Job evaluator in namespace here cannot be started (403): the chief's Role must allow get and patch"),
        (
            404,
            "the Job evaluator in namespace here cannot be started (404): the Job does not exist; run `helm upgrade`",
        ),
    ],
)
def test_a_refusal_to_start_the_evaluation_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, status: int, sentence: str
) -> None:
    monkeypatch.setattr(JobsHandler, "do_PATCH", lambda handler: handler.send_error(status))
    api = JobsApi("suspended")
    api.failed.add("GET")
    with serving(api) as url, pytest.raises(EnvironmentFailure, match=re.escape(sentence)):
        EvaluationJob("evaluator", cluster_at(url, "here")).start()
