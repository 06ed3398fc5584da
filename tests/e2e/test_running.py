"""What happens to a study while it runs: scaled, upgraded, its chief and its bucket lost."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, Release, run, until

EPOCHS = 8


@pytest.fixture(scope="module")
def running(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study that lasts as long as the tests of this module, which follow one another."""
    release = Release(namespace, "night", image)
    release.install(
        study={
            "search": {"max_trials": 400, "early_stopping": {"policy": "none"}},
            "training": {"epochs": EPOCHS},
            "leases": {"duration_s": 6.0},
        }
    )
    until("the first epochs", lambda: release.epochs() >= 2)
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def uids(pods: list[Any]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


def job_of(pod: Any) -> str:
    return str(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])


def names(count: int) -> set[str]:
    return {f"worker-{index}" for index in range(count)}


def await_progress(release: Release, epochs: int = 2) -> None:
    """Wait for epochs that are reported from now on, by any worker."""
    before = release.epochs()
    until("more epochs", lambda: release.epochs() >= before + epochs)


def test_more_workers_join_a_search_and_those_at_work_stay(running: Release) -> None:
    before = uids(running.running("worker"))
    running.upgrade(workers__replicas=4)
    until("four workers at work", lambda: running.at_work() == names(4))
    assert before <= uids(running.running("worker"))


def test_workers_that_are_taken_away_hand_back_their_trials(running: Release) -> None:
    running.upgrade(workers__replicas=1)
    until("one worker", lambda: len(running.running("worker")) == 1)
    await_progress(running)
    until("the others' trials to wait for it", lambda: running.at_work() == names(1))
    assert [t for t in running.trials() if t["state"] == "FAILED"] == []


def test_a_chief_that_is_deleted_with_no_grace_is_replaced_and_no_epoch_is_lost(running: Release) -> None:
    before = {t["trial_id"]: t["epochs"] for t in running.trials()}
    chief = running.running("chief")[0]["metadata"]["name"]
    running.namespace.kubectl("delete", "pod", chief, "--grace-period=0", "--force")
    await_progress(running)
    assert running.status()["chiefs"] >= 2
    after = {t["trial_id"]: t["epochs"] for t in running.trials()}
    assert all(after[trial] >= epochs for trial, epochs in before.items())


def test_a_bucket_that_is_restarted_keeps_the_study(running: Release) -> None:
    before = {t["trial_id"] for t in running.trials() if t["state"] == "COMPLETED"}
    old = uids(running.running("bucket"))
    running.namespace.kubectl("delete", "pod", "-l", running.labels("bucket"), "--wait=false")
    until("a new bucket", lambda: (new := uids(running.running("bucket"))) and not new & old)
    await_progress(running)
    assert before <= {t["trial_id"] for t in running.trials() if t["state"] == "COMPLETED"}


def test_an_upgrade_replaces_the_pods_and_loses_no_finished_trial(running: Release) -> None:
    old = running.job("worker")["metadata"]["name"]
    ended = {t["trial_id"]: t for t in running.trials() if t["state"] == "COMPLETED"}
    running.upgrade(podAnnotations={"image": "new"}, workers__replicas=2)
    until("the new Job", lambda: running.job("worker")["metadata"]["name"] != old)
    until("the old pods to go", lambda: old not in {job_of(pod) for pod in running.pods("worker")})
    await_progress(running)
    after = {t["trial_id"]: t for t in running.trials()}
    assert all(after[trial] == was for trial, was in ended.items())


def test_two_releases_live_in_one_namespace(running: Release, release: Callable[[str], Release]) -> None:
    other = release("day")
    other.install(study={"search": {"max_trials": 1}, "training": {"epochs": 1}}, workers__replicas=1)
    other.await_evaluation()
    assert other.status()["study"] == "day"
    assert running.status()["study"] == "night"
    assert running.running("worker")
