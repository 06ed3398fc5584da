"""The end of a search: the pods of idle workers complete, and the last trial survives the death of its worker."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, Release, until

INDEX = "batch.kubernetes.io/job-completion-index"
WORKERS = 8
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def last(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study of one long trial with eight workers, of which seven wait in vain."""
    release = Release(namespace, "last", image)
    release.install(
        study={
            "search": {"max_trials": 1, "early_stopping": {"policy": "none"}},
            "training": {"epochs": 1000},
            "leases": {"duration_s": 6.0},
            "evaluation": {"robustness_images": 0},
        },
        workers__replicas=WORKERS,
        workers__gpus=0,
        workers__resources={"requests": {"cpu": "50m", "memory": "300Mi"}},
    )
    yield release
    release.uninstall()


def pods_by_index(release: Release) -> dict[str, Any]:
    """Return the newest pod of each worker."""
    pods = sorted(release.pods("worker"), key=lambda pod: pod["metadata"]["creationTimestamp"])
    return {pod["metadata"]["labels"][INDEX]: pod for pod in pods}


def test_eight_workers_and_one_long_trial_leave_two_pods_and_the_others_complete(last: Release) -> None:
    until("the trial's first epoch", lambda: last.epochs() >= 1)
    until("all workers to have joined", lambda: last.logs("chief").count(" has joined") >= WORKERS)
    began = time.monotonic()
    until("two pods", lambda: len(last.running("worker")) == 2)
    assert time.monotonic() - began < WITHIN_S
    phases = sorted(pod["status"]["phase"] for pod in pods_by_index(last).values())
    assert phases == ["Running"] * 2 + ["Succeeded"] * (WORKERS - 2)
    assert [trial["state"] for trial in last.trials()] == ["RUNNING"]


def test_the_trial_survives_the_death_of_its_worker_and_two_pods_remain(last: Release) -> None:
    (before,) = last.trials()
    index = before["worker"].removeprefix("worker-")
    pod = pods_by_index(last)[index]["metadata"]["name"]
    last.namespace.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

    def continues() -> bool:
        (now,) = last.trials()
        return bool(now["attempts"] > before["attempts"] and now["epochs"] > before["epochs"])

    until("the trial to continue", continues)
    (after,) = last.trials()
    assert after["worker"] != before["worker"]
    until("the replaced pod as the spare worker", lambda: len(last.running("worker")) == 2)
    replaced = pods_by_index(last)[index]
    assert replaced["metadata"]["name"] != pod
    assert replaced["status"]["phase"] == "Running"


def test_more_trials_bring_the_workers_back(last: Release) -> None:
    last.upgrade(study__search__max_trials=100)
    until("eight workers", lambda: len(last.running("worker")) == WORKERS)
    until("their trials", lambda: sum(trial["state"] == "RUNNING" for trial in last.trials()) == WORKERS)
