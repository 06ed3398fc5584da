"""What happens to a study while it runs: scaled, upgraded, its chief and its bucket lost."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Namespace, Release, run, until
from tests.e2e.nodes import (
    await_workers,
    build,
    needs_builder,
    needs_nodes,
    node_of,
    spread,
    two_workers_without,
)

EPOCHS = 8
INDEX = "batch.kubernetes.io/job-completion-index"


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


def runs_only(release: Release, component: str, image: str) -> bool:
    return images(release.pods(component)) == {image}


def images(pods: list[Any]) -> set[str]:
    return {container["image"] for pod in pods for container in pod["spec"]["containers"]}


def await_progress(release: Release, epochs: int = 2) -> None:
    """Wait for epochs that are reported from now on, by any worker."""
    previous_epochs = release.epochs()
    until("more epochs", lambda: release.epochs() >= previous_epochs + epochs)


def test_more_workers_join_a_search_and_those_at_work_stay(running: Release) -> None:
    previous_uids = uids(running.running("worker"))
    running.upgrade(workers__replicas=4)
    await_workers(running, 4)
    assert previous_uids <= uids(running.running("worker"))


def test_workers_that_are_taken_away_hand_back_their_trials(running: Release) -> None:
    running.upgrade(workers__replicas=1)
    await_workers(running, 1)
    await_progress(running)
    assert [t for t in running.trials() if t["state"] == "FAILED"] == []


def test_a_chief_that_is_deleted_with_no_grace_is_replaced_and_no_epoch_is_lost(running: Release) -> None:
    previous_epochs = {t["trial_id"]: t["epochs"] for t in running.trials()}
    chief = running.running("chief")[0]["metadata"]["name"]
    running.namespace.kubectl("delete", "pod", chief, "--grace-period=0", "--force")
    await_progress(running)
    assert running.status()["chiefs"] >= 2
    after = {t["trial_id"]: t["epochs"] for t in running.trials()}
    assert all(after[trial] >= epochs for trial, epochs in previous_epochs.items())


def test_a_bucket_that_is_restarted_keeps_the_study(running: Release) -> None:
    completed = {t["trial_id"] for t in running.trials() if t["state"] == "COMPLETED"}
    old = uids(running.running("bucket"))
    running.namespace.kubectl("delete", "pod", "-l", running.labels("bucket"), "--wait=false")
    until("a new bucket", lambda: (new := uids(running.running("bucket"))) and not new & old)
    await_progress(running)
    assert completed <= {t["trial_id"] for t in running.trials() if t["state"] == "COMPLETED"}


@needs_builder
def test_an_upgrade_to_a_new_image_replaces_the_pods_and_loses_no_finished_trial(
    running: Release, image: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nENV NEWER=1\n")
    build(newer := f"{image}-newer", tmp_path)
    ended = {t["trial_id"]: t for t in running.trials() if t["state"] == "COMPLETED"}
    running.image = newer
    running.upgrade(workers__replicas=2)
    for component in ("chief", "worker"):
        until(f"the old {component} to go", partial(runs_only, running, component, newer))
    await_workers(running, 2)
    await_progress(running)
    after = {t["trial_id"]: t for t in running.trials()}
    assert all(after[trial] == was for trial, was in ended.items())


@needs_nodes
def test_a_preempted_nodes_worker_comes_back_elsewhere(running: Release, lose_node: Callable[[str, str], None]) -> None:
    lost = spread(running)
    lose_node(lost, "preempt")
    until("two workers elsewhere", lambda: two_workers_without(running, lost))
    await_workers(running, 2)
    await_progress(running)


@needs_nodes
def test_a_node_that_dies_takes_no_trial_with_it(running: Release, lose_node: Callable[[str, str], None]) -> None:
    """The trial of its worker goes on elsewhere once its lease is over, long before Kubernetes has replaced the pod."""
    lost = spread(running)
    index = next(pod for pod in running.running("worker") if node_of(pod) == lost)["metadata"]["labels"][INDEX]
    trial = next(t for t in running.trials() if t["state"] == "RUNNING" and t["worker"] == f"worker-{index}")
    lose_node(lost, "kill")

    def goes_on() -> bool:
        (now,) = (t for t in running.trials() if t["trial_id"] == trial["trial_id"])
        return bool(now["attempts"] > trial["attempts"] and now["epochs"] > trial["epochs"])

    until("its trial to go on", goes_on)
    await_progress(running)


def test_two_releases_live_in_one_namespace(running: Release, release: Callable[[str], Release]) -> None:
    other = release("day")
    other.install(study={"search": {"max_trials": 1}, "training": {"epochs": 1}}, workers__replicas=1)
    other.await_evaluation()
    assert other.status()["study"] == "day"
    assert running.status()["study"] == "night"
    assert running.running("worker")
