"""A release is read from outside and from inside its cluster: `status`, `logs`, and what the pods themselves write."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import Namespace, Release, cifake_tune, run, until

EPOCHS = 6
DOCS = Path(__file__).parents[2] / "docs" / "kubernetes.md"


@pytest.fixture(scope="module")
def read(namespace: Namespace, image: str) -> Iterator[Release]:
    """One worker, and trials that last for a while; its log is JSON."""
    release = Release(namespace, "cifake-tune", image)
    study = {"search": {"max_trials": 100, "early_stopping": {"policy": "none"}}, "training": {"epochs": EPOCHS}}
    release.install(study=study, workers={"replicas": 1}, logs={"format": "json"})
    until("the first epoch", lambda: release.epochs() >= 1)
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def where(release: Release) -> list[str]:
    return ["--release", release.name, "--namespace", release.namespace.name]


def test_json_logs_are_an_object_a_line(read: Release) -> None:
    for component in ("chief", "worker"):
        pod = read.running(component)[0]["metadata"]["name"]
        lines = [json.loads(line) for line in read.namespace.kubectl("logs", pod).splitlines()]
        assert lines, component
        assert all({"time", "severity", "message"} <= set(line) for line in lines), lines


def test_the_log_of_a_trial_joins_its_attempts_though_their_pods_are_gone(read: Release) -> None:
    def at_work() -> str | None:
        return next(
            (t["trial_id"] for t in read.trials() if t["state"] == "RUNNING" and t["epochs"] < EPOCHS - 2), None
        )

    trial = until("a trial at work", at_work)
    read.namespace.kubectl("delete", "pod", read.running("worker")[0]["metadata"]["name"], "--wait=false")
    until("its second attempt", lambda: any(t["trial_id"] == trial and t["attempts"] == 2 for t in read.trials()))
    logs = until(
        "the log of both",
        lambda: s if (s := cifake_tune("logs", trial, *where(read))[1]).count("attempt 2") else None,
    )
    assert logs.index("attempt 1") < logs.index("attempt 2")
    assert "preempted" in logs


def test_a_log_that_is_followed_ends_with_whoever_reads_it(read: Release) -> None:
    command = [sys.executable, "-m", "cifake_tune", "logs", "--follow", *where(read)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        assert " | " in follower.stdout.readline()
        follower.stdout.close()
        assert follower.stderr.read() == ""
        assert follower.wait(timeout=60) == 0


def test_status_in_a_pod_needs_no_more_than_the_documented_role(read: Release) -> None:
    namespace = read.namespace
    role = next(
        part.partition("```")[0] for part in DOCS.read_text("utf-8").split("```yaml\n") if "cifake-tune-reader" in part
    )
    namespace.kubectl("apply", "-f", "-", stdin=role)
    namespace.kubectl("create", "serviceaccount", "reader")
    namespace.kubectl(
        *("create", "rolebinding", "reader", f"--role={yaml.safe_load(role)['metadata']['name']}"),
        f"--serviceaccount={namespace.name}:reader",
    )
    # a pod's log is standard output and standard error, which shows progress on a busy node
    command = ["sh", "-c", f"cifake-tune status --release {read.name} --json 2>/dev/null"]
    status = json.loads(namespace.run_once("reader", read.image, command, account="reader"))
    assert status["notes"] == []
    assert status["study"]["study"] == "cifake-tune"
    assert status["workers"][0]["work"]["trial"]


def test_helm_test_is_green_while_the_search_runs(read: Release) -> None:
    assert "Phase:          Succeeded" in read.test()
    assert read.status()["state"] == "unfinished"
