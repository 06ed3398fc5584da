"""What `doctor` finds on this machine and at a bucket, and what it reckons a release to ask for."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8s.cluster.objects import Condition, Deployment, Job, JobStatus, Toleration
from k8s.cluster.resources import Claim, ClaimStatus, Node
from k8s.doctor import local_checks
from k8s.doctor.findings import FINDINGS, Severity, clock_finding
from k8s.doctor.quotas import components_without, requested_amount
from k8s.doctor.requirements import Requirements, of_flags, of_objects
from k8s.release.scheduling import untolerated
from tests.k8s import captured
from tests.support.command_line import run_in_process
from tests.support.gcs_emulator import Emulator
from tests.support.refuser import running_refuser
from tuner.errors import ExitCode

COMPLETE = Condition(type="Complete", status="True")


def doctor_process(*arguments: str, kubeconfig: Path) -> tuple[int, str]:
    """Run `doctor` in a process of its own: the Kubernetes client reads KUBECONFIG while it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "cifake_tune", "doctor", *arguments],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def doctor(*arguments: str, **environment: str) -> tuple[int, str]:
    done = run_in_process("doctor", *arguments, environment=environment)
    assert "Traceback" not in done.err
    return done.code, done.out + done.err


# ---- this machine and its bucket ------------------------------------------------------------------
def test_a_machine_with_a_backend_and_a_bucket_is_fine_and_nothing_stays_in_the_bucket(tmp_path: Path) -> None:
    code, output = doctor("--bucket", str(tmp_path / "bucket"))
    assert code == ExitCode.DONE
    assert "creates, reads, lists and deletes objects" in output
    assert [path for path in (tmp_path / "bucket").rglob("*") if path.is_file()] == []


def test_a_bucket_that_cannot_be_written_is_broken_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, output = doctor("--bucket", str(tmp_path / "file"), "--json")
    assert code == ExitCode.ENVIRONMENT
    findings = FINDINGS.validate_json(output)
    assert [f.check for f in findings if f.severity is Severity.BROKEN] == ["bucket"]


def test_a_backend_that_is_chosen_and_not_installed_is_broken() -> None:
    code, output = doctor(KERAS_BACKEND="torch")
    assert code == ExitCode.ENVIRONMENT
    assert "KERAS_BACKEND is torch, which is not installed. Unset KERAS_BACKEND, or set it to one of: " in output


def test_a_bucket_of_google_is_tried_with_its_latency_and_clock(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    findings = list(local_checks.check_bucket(f"gs://{emulator.new_bucket()}/prefix", "this machine"))
    assert {finding.check: finding.severity for finding in findings} == {"clock": "fine", "bucket": "fine"}


def test_a_bucket_without_rights_is_broken_and_names_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_refuser(403) as refuser:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", refuser.url)
        (finding,) = [f for f in local_checks.check_bucket("gs://not-ours", "this machine") if f.check == "bucket"]
    assert finding.severity is Severity.BROKEN
    assert "Give this account the role roles/storage.objectUser on the bucket not-ours" in finding.what


def test_an_address_that_nobody_answers_at_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    (finding,) = local_checks.check_bucket("gs://somewhere", "this machine")
    assert finding.severity is Severity.BROKEN
    assert f"gs://somewhere cannot be reached: http://127.0.0.1:{port} refuses the connection" in finding.what
    (finding,) = local_checks.check_chief("127.0.0.1", port)
    assert finding.severity is Severity.BROKEN


def test_a_name_that_dns_does_not_know_is_broken() -> None:
    (finding,) = local_checks.check_name("night-cifake-tune-chief.invalid")
    assert finding.severity is Severity.BROKEN
    assert "is not resolved" in finding.what
    assert next(iter(local_checks.check_name("localhost"))).severity is Severity.FINE


def test_what_a_pod_is_asked_to_look_at_comes_back_as_json() -> None:
    code, output = doctor("--inside", "--json", "--service", "localhost", "--chief", "127.0.0.1:1")
    assert code == ExitCode.ENVIRONMENT
    assert [(f["check"], f["severity"]) for f in json.loads(output)] == [("DNS", "fine"), ("chief", "broken")]


@pytest.mark.parametrize(
    ("ours_s", "severity", "what"),
    [
        (1000.9, Severity.FINE, "the clocks of a and b agree"),
        (1060.0, Severity.WARNING, "the clock of a is 60 s ahead of that of b"),
        (600.0, Severity.BROKEN, "the clock of a is 400 s behind that of b, so tokens are rejected"),
    ],
)
def test_clocks_that_differ_are_worth_a_word_and_too_far_apart_break_tokens(
    ours_s: float, severity: Severity, what: str
) -> None:
    finding = clock_finding("clock", ours_s, 1000.0, "a", "b")
    assert (finding.severity, finding.what) == (severity, what)


@pytest.mark.parametrize(
    ("packages", "severity"),
    [(["nvidia-cuda-runtime-cu12"], Severity.FINE), (["tensorflow-cpu", "nvidia-ml-py"], Severity.WARNING)],
)
def test_an_image_without_cuda_is_told_to_workers_that_request_gpus(
    monkeypatch: pytest.MonkeyPatch, packages: list[str], severity: Severity
) -> None:
    parts = [SimpleNamespace(metadata={"Name": name}) for name in packages]
    monkeypatch.setattr(local_checks, "distributions", lambda: parts)
    monkeypatch.setattr(local_checks, "find_library", lambda _: None)
    (finding,) = local_checks.check_cuda(1)
    assert finding.severity is severity
    if severity is Severity.WARNING:
        assert "make image LOCK=cuda" in finding.fix
        assert "workers.gpus=0" in finding.fix
    assert list(local_checks.check_cuda(0)) == []


# ---- what a release asks for ----------------------------------------------------------------------
@pytest.fixture
def requirements() -> Requirements:
    """What a release asks for of which nothing is there yet."""
    needed = of_objects(captured.release_parts(Job), captured.release_parts(Deployment), [])
    return replace(needed, pods=tuple(replace(pods, missing=pods.count) for pods in needed.pods))


def test_what_a_release_asks_for_is_read_from_its_objects(requirements: Requirements) -> None:
    assert requirements.bucket_url == "gs://cifake-tune"
    assert requirements.own_bucket is not None
    assert requirements.own_bucket.address == "http://night-cifake-tune-bucket:4443"
    assert requirements.image.startswith("localhost:5000/cifake-tune:")
    assert {pods.component: pods.count for pods in requirements.pods} == {
        "chief": 1,
        "data": 1,
        "evaluator": 1,
        "worker": 3,
        "bucket": 1,
    }


def test_what_counts_for_a_quota_is_summed_over_all_pods(requirements: Requirements) -> None:
    assert requested_amount(requirements, "requests.nvidia.com/gpu") == 9
    assert requested_amount(requirements, "pods") == 7
    assert float(requested_amount(requirements, "requests.cpu")) == pytest.approx(0.25 * 3 + 0.25 + 0.1 + 0.1 + 0.05)
    assert float(requested_amount(requirements, "cpu")) == float(requested_amount(requirements, "requests.cpu"))
    assert requested_amount(requirements, "services") == 0


def test_of_a_release_only_what_is_still_to_come_counts_for_a_quota() -> None:
    jobs = {job.component: job for job in captured.release_parts(Job)}
    status = jobs["worker"].status
    lost = jobs | {"worker": jobs["worker"].model_copy(update={"status": status.model_copy(update={"active": 1})})}
    done = jobs | {"worker": jobs["worker"].model_copy(update={"status": JobStatus(conditions=[COMPLETE])})}
    requested = {
        name: requested_amount(of_objects(list(release_jobs.values()), [], []), "requests.nvidia.com/gpu")
        for name, release_jobs in {"whole": jobs, "lost": lost, "done": done}.items()
    }
    assert requested == {"whole": 0, "lost": 6, "done": 0}


def test_the_volume_of_the_bucket_counts_for_a_quota_until_it_is_there() -> None:
    requirements = of_flags("registry/cifake-tune:1", 1, 0, "")
    assert requirements.own_bucket is not None
    claim = Claim.model_validate({"spec": {"resources": {"requests": {"storage": "10Gi"}}}})
    to_come = replace(requirements, own_bucket=replace(requirements.own_bucket, claim=claim))
    bound = claim.model_copy(update={"status": ClaimStatus(phase="Bound")})
    ready = replace(requirements, own_bucket=replace(requirements.own_bucket, claim=bound))
    assert (requested_amount(to_come, "requests.storage"), requested_amount(ready, "requests.storage")) == (
        10 * 2**30,
        0,
    )
    assert (requested_amount(to_come, "persistentvolumeclaims"), requested_amount(ready, "persistentvolumeclaims")) == (
        1,
        0,
    )


def test_containers_that_do_not_say_what_a_quota_counts_are_named(requirements: Requirements) -> None:
    assert components_without(requirements, "limits.memory", set()) == ["bucket"]
    assert set(components_without(requirements, "limits.cpu", set())) == {
        "chief",
        "data",
        "evaluator",
        "worker",
        "bucket",
    }
    assert components_without(requirements, "limits.cpu", {"cpu"}) == []
    assert components_without(requirements, "requests.memory", set()) == []
    assert components_without(requirements, "services", set()) == []


def test_taints_are_tolerated_as_the_scheduler_does() -> None:
    tainted = captured.read("nodes.json", Node)["node-tainted"]

    def left(**toleration: str) -> list[str]:
        taints = untolerated(tainted, [Toleration.model_validate(toleration)])
        return [str(taint) for taint in taints if not taint.key.startswith("node.kubernetes.io/")]

    assert left(key="team", value="other", effect="NoSchedule") == []
    assert left(key="team", operator="Exists") == []
    assert left(operator="Exists") == []
    assert left(key="team", value="ours") == ["team=other:NoSchedule"]
    assert left(key="nvidia.com/gpu", operator="Exists") == ["team=other:NoSchedule"]


def test_flags_are_enough_to_look_before_an_install() -> None:
    requirements = of_flags("registry/cifake-tune:1", 3, 2, "gs://bucket")
    assert (requirements.image, requirements.bucket_url) == ("registry/cifake-tune:1", "gs://bucket")
    assert requested_amount(requirements, "requests.nvidia.com/gpu") == 6
    assert components_without(requirements, "limits.memory", set()) == []  # it is not known


def test_two_ways_to_say_what_is_meant_exclude_each_other() -> None:
    code, output = doctor("--release", "night", "--gpus", "2")
    assert code == ExitCode.USAGE
    assert "only one of these groups of options is allowed: --release" in output


def test_no_cluster_is_an_error_that_says_how_to_have_one(tmp_path: Path) -> None:
    code, output = doctor_process("--release", "night", kubeconfig=tmp_path / "none")
    assert code == ExitCode.USAGE
    assert "no cluster is configured" in output


def test_an_api_that_does_not_answer_is_broken(tmp_path: Path) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    kubeconfig = {"kind": "Config", "clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}]}
    (tmp_path / "config").write_text(json.dumps(kubeconfig | {"current-context": "c"}))
    code, output = doctor_process("--namespace", "x", kubeconfig=tmp_path / "config")
    assert code == ExitCode.ENVIRONMENT
    assert "the Kubernetes API at http://127.0.0.1:9 cannot be reached" in output
