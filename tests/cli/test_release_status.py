"""`status --release` and `doctor --release` against an API server: the exit code, the JSON, and who is asked."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Job, Pod, Secret, Variable
from k8s.doctor.findings import FINDINGS, Severity
from k8s.release.release import Release
from tests.k8s import captured
from tests.live_page.studies import searched
from tests.support.api_server import ApiServer, running_api_server
from tests.support.certificates import Authority
from tests.support.proxies import DEAD, through
from tuner import names
from tuner.address import Address
from tuner.cli.release import ask_for_progress
from tuner.cli.status import _study_of
from tuner.errors import ExitCode
from tuner.live_page.access import PageAccess
from tuner.live_page.live_state import LiveState
from tuner.live_page.routes import LivePage
from tuner.monitoring.http_server import HttpServer
from tuner.monitoring.server_certificate import ServerCertificate
from tuner.study.state import StudyState
from tuner.study.status import Activity, EvaluationState
from tuner.study.views import view_study


def parts() -> dict[str, Any]:
    """Return a release that runs, apart from a worker that waits for GPUs."""
    return dict(json.loads((captured.FOLDER / "release.json").read_text(encoding="utf-8")))


def healthy() -> dict[str, Any]:
    everything = parts()
    everything["pods"] = [pod for pod in everything["pods"] if pod["status"]["phase"] != "Pending"]
    for job in everything["jobs"]:
        if job["spec"].get("completions") == 3:
            job["spec"] |= {"completions": 1, "parallelism": 1}
    return everything


def command(api: ApiServer, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the program in a process of its own: the Kubernetes client reads KUBECONFIG while it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "cifake_tune", *arguments, "--release", "night"],
        env={**os.environ, "KUBECONFIG": str(api.kubeconfig(folder, "kube-demo"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("objects", "code"), [(parts, ExitCode.ENVIRONMENT), (healthy, ExitCode.DONE)])
def test_status_ends_with_3_if_something_is_broken(
    tmp_path: Path, objects: Callable[[], dict[str, Any]], code: ExitCode
) -> None:
    with running_api_server(objects()) as api:
        returned, output, _ = command(api, tmp_path, "status", "--json")
    assert returned == code
    parsed = json.loads(output)
    assert parsed["broken"] is (code is not ExitCode.DONE)
    assert any("The progress of the study is unknown" in note for note in parsed["notes"])  # no port is forwarded


def test_doctor_reads_the_same_problems(tmp_path: Path) -> None:
    with running_api_server(parts() | {"namespaces/kube-demo": {"metadata": {"name": "kube-demo"}}}) as api:
        code, output, _ = command(api, tmp_path, "doctor", "--no-probe", "--json")
    assert code == ExitCode.ENVIRONMENT
    pods = [finding for finding in FINDINGS.validate_json(output) if finding.check == "pods"]
    assert [(finding.severity, finding.what[:22]) for finding in pods] == [(Severity.BROKEN, "worker 1: is pending: ")]


@pytest.mark.parametrize(
    ("deleted", "reason"), [(True, "its namespace is being deleted"), (False, "it was uninstalled")]
)
def test_a_bucket_that_was_deleted_with_its_release_needs_no_credentials(deleted: bool, reason: str) -> None:
    everything = parts()
    release = Release(
        name="night",
        cluster=Cluster(client.Configuration(), "kube-demo"),
        jobs=[Job.model_validate(job) for job in everything["jobs"]],
        deployments=[],
        pods=[Pod.model_validate(pod) for pod in everything["pods"]],
        events=[],
        deleted=datetime.now(UTC) if deleted else None,
    )
    progress, note = _study_of(release, None)
    assert progress is None
    assert note == (
        f"The progress of the study is unknown: the bucket of release night does not exist, because {reason}."
    )


# ---- a bucket that only the pods can read ---------------------------------------------------------
PLAIN = PageAccess()


@contextmanager
def chief_page(
    state: StudyState, access: PageAccess = PLAIN, certificate: ServerCertificate | None = None
) -> Iterator[int]:
    """Serve the live page of a chief, and yield its port."""
    page = LivePage("gs://theirs", lambda: LiveState(0.0, state, EvaluationState.WAITING, None))
    with HttpServer(Address("127.0.0.1", 0), page.routes(access), certificate=certificate) as server:
        yield server.address.port


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release whose bucket is outside the cluster, read by a user without credentials."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", names.ENV_EMULATOR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent")
    everything = parts()
    for job in everything["jobs"]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        kept = [v for v in container["env"] if v["name"] not in (names.ENV_BUCKET, names.ENV_EMULATOR, names.ENV_HTTP)]
        added = {names.ENV_BUCKET: "gs://theirs", names.ENV_HTTP: "0.0.0.0:9090"}
        container["env"] = [*kept, *({"name": name, "value": value} for name, value in added.items())]
    return Release(
        name="night",
        cluster=Cluster(client.Configuration(), "kube-demo"),
        jobs=[Job.model_validate(job) for job in everything["jobs"]],
        deployments=[],
        pods=[Pod.model_validate(pod) for pod in everything["pods"]],
        events=[],
    )


def test_the_chief_is_asked_if_the_caller_may_not_read_the_bucket(
    outside: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in through(DEAD).items():
        monkeypatch.setenv(variable, value)
    state = searched(planned=12, begun=8)
    with chief_page(state) as page_port:

        @contextmanager
        def forwarded(_: Cluster, pod: str, port: int) -> Iterator[int]:
            assert (pod.startswith("night-cifake-tune-chief-"), port) == (True, 9090)
            yield page_port

        monkeypatch.setattr("k8s.cluster.port_forward.forwarded", forwarded)
        progress, note = _study_of(outside, "cifake-night")
    assert note == ""
    assert progress is not None
    expected = view_study(state)
    assert progress.best_score == pytest.approx(expected.best_score, rel=1e-4)  # the page rounds numbers
    assert (progress.best_hyperparameters or {}).keys() == (expected.best_hyperparameters or {}).keys()
    absent = {"data": "", "last_record_s": None, "model_sizes": None}  # the page does not have them
    of_the_page = {
        name: getattr(progress, name) for name in ("best_score", "best_hyperparameters", "elapsed_s", "remaining_s")
    }
    assert progress == expected.model_copy(update={**absent, **of_the_page, "activity": Activity.RUNNING})


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_the_chief_is_asked_at_the_port_of_its_page_with_the_token_from_its_secret(
    outside: Release, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_encrypted: bool
) -> None:
    token = "0123456789abcdef"
    (chief,) = [job for job in outside.jobs if job.component == "chief"]
    (container,) = chief.spec.template.spec.containers
    reference = {"secretKeyRef": {"name": "page-token", "key": "token"}}
    container.env.append(Variable(name=names.ENV_LIVE_PAGE, value="0.0.0.0:8080"))
    container.env.append(Variable(name=names.ENV_LIVE_PAGE_TOKEN, value_from=reference))
    certificate = None
    if is_encrypted:
        files = Authority(tmp_path).issue("page", "cifake.example.com")
        certificate = ServerCertificate(files.certificate, files.key, ("CERT", "KEY"))
        container.env.append(Variable(name=names.ENV_LIVE_PAGE_CERT, value="/etc/tls.crt"))

    def secret(_: Cluster, kind: type, name: str) -> Secret:
        assert (kind, name) == (Secret, "page-token")
        return Secret(data={"token": b64encode(f"{token}\n".encode()).decode()})

    monkeypatch.setattr(Cluster, "get", secret)
    state = searched(planned=12, begun=8)
    with chief_page(state, PageAccess(token, is_encrypted), certificate) as page_port:

        @contextmanager
        def forwarded(_: Cluster, pod: str, port: int) -> Iterator[int]:
            assert port == 8080
            yield page_port

        monkeypatch.setattr("k8s.cluster.port_forward.forwarded", forwarded)
        assert ask_for_progress(outside).completed == view_study(state).completed


def test_if_the_chief_does_not_answer_either_both_reasons_are_told(
    outside: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def forwarded(*_: object) -> Iterator[int]:
        yield 9

    monkeypatch.setattr("k8s.cluster.port_forward.forwarded", forwarded)
    progress, note = _study_of(outside, "cifake-night")
    assert progress is None
    assert note.startswith("The progress of the study is unknown: ")
    assert "The chief was asked instead, but the chief's live page does not answer" in note
