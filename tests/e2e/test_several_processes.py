"""Pods with two worker processes each (workers.perPod) under preemption."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Namespace, Release, run, until

EPOCHS = 6
PROCESSES = {f"worker-{pod}-{number}" for pod in range(2) for number in range(2)}


@pytest.fixture(scope="module")
def shared(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study with two pods of two processes."""
    release = Release(namespace, "shared", image)
    release.install(
        study={
            "search": {"max_trials": 12, "early_stopping": {"policy": "none"}},
            "training": {"epochs": EPOCHS},
            "leases": {"duration_s": 6.0},
            "evaluation": {"robustness_images": 0},
        },
        workers__replicas=2,
        workers__gpus=0,
        workers__perPod=2,
    )
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_two_pods_train_four_trials_at_the_same_time(shared: Release) -> None:
    until("four trials", lambda: shared.at_work() == PROCESSES)
    assert len(shared.running("worker")) == 2
    assert all(f"[{name}] " in shared.logs("worker") for name in PROCESSES)


def test_a_preempted_pod_returns_both_trials_and_none_loses_an_epoch(shared: Release) -> None:
    until("epochs", lambda: shared.epochs() >= 4)
    before = {trial["trial_id"]: trial for trial in shared.trials()}
    pod = next(pod for pod in shared.running("worker"))
    index = pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
    shared.namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    until("the pod to be replaced", lambda: {f"worker-{index}-0", f"worker-{index}-1"} <= shared.at_work())
    after = {trial["trial_id"]: trial for trial in shared.trials()}
    assert all(after[trial]["epochs"] >= was["epochs"] for trial, was in before.items())


def test_the_search_ends_and_every_job_completes(shared: Release) -> None:
    shared.await_evaluation()
    assert {trial["state"] for trial in shared.trials()} == {"COMPLETED"}
    assert len(shared.trials()) == 12
