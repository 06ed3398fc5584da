"""Chief and worker as Jobs of a cluster: what they do when they are started again, or lack the GPUs asked for."""

import asyncio
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from kubernetes import client
from urllib3.exceptions import HTTPError

from k8s.evaluation_job import EvaluationJob
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
    """Leave the journal of a search that is over."""
    opened = Opened(at=0, term=1, writer="w", study=study, data="0" * 64, direction="max", start=start)
    finished = Finished(at=1, reason="3 trials failed", failed=gave_up)
    bucket.create(names.journal_segment(study.name, 1), journal.encode(1, "w", [opened, finished]))
    return read_study(bucket, study.name)


def start(bucket: LocalBucket, study: Study, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    file = Path(bucket.url) / "study.yaml"
    file.write_text(yaml.safe_dump(dump(study)))
    return subprocess.run(
        [sys.executable, "-m", "tuner.cli", command],
        env=os.environ
        | {names.ENV_BUCKET: bucket.url, names.ENV_STUDY_FILE: str(file), "CUDA_VISIBLE_DEVICES": "-1"}
        | {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "1", names.ENV_TUNER_ID: "worker-0"}
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
    done = start(bucket, load(), "worker")
    assert done.returncode == 0, done.stderr
    assert "the search of study cifake has finished" in done.stdout


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
    assert "has no trial with a score" in done.stderr
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
    assert "training on the CPU" in caplog.text
    with pytest.raises(ConfigError, match=r"2 GPUs requested, but .* found none.*workers.requireGPU=false"):
        devices.check({names.ENV_GPUS: "2", names.ENV_REQUIRE_GPU: "true"})


# ---- the evaluation's Job ----------------------------------------------------------------------------
class JobsApi:
    """The Kubernetes API's Jobs, as far as an evaluation's needs them; each call fails the first time."""

    def __init__(self, *ends: str) -> None:
        self.ends = iter(ends)
        self.patched: list[object] = []
        self.failed: set[str] = set()

    def patch_namespaced_job(self, name: str, namespace: str, patch: object, **_: object) -> None:
        self._fail("patch")
        self.patched.append((name, patch))

    def read_namespaced_job(self, *_: object, **__: object) -> client.V1Job:
        self._fail("read")
        end = next(self.ends)
        conditions = [client.V1JobCondition(type=end, status="True")] if end else None
        return client.V1Job(status=client.V1JobStatus(conditions=conditions))

    def _fail(self, what: str) -> None:
        if what not in self.failed:
            self.failed.add(what)
            raise HTTPError("connection refused")


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_the_evaluation_is_started_and_awaited_though_the_api_fails_now_and_then(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    api = JobsApi("", "", end)
    monkeypatch.setattr("k8s.evaluation_job.in_cluster", lambda name: EvaluationJob(name, "here", api))
    monkeypatch.setattr("tuner.chief.evaluation_job.POLL_S", 0.01)
    with nullcontext() if end == "Complete" else pytest.raises(NoResultError, match="the evaluation failed"):
        asyncio.run(run_evaluation("evaluator"))
    assert api.patched == [("evaluator", {"spec": {"suspend": False}})]
    assert next(api.ends, None) is None
    monkeypatch.setattr("tuner.chief.evaluation_job.PATIENCE_S", -1.0)
    api.failed.clear()
    with pytest.raises(EnvironmentFailure, match="cannot be reached"):
        asyncio.run(run_evaluation("evaluator"))
