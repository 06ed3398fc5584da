"""All that befalls a study on a cluster, one thing after the other during one study, and the checker's verdict over it.

Nodes are lost on the cluster of ../shared/cluster only.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8s.cluster.client import connect
from k8s.release.release import load
from tests.chaos.checker import check
from tests.chaos.evidence import Left, read_marks, read_segments
from tests.chaos.findings import Rule
from tests.chaos.report import print_verdict
from tests.e2e.cluster import Namespace, Release, run, until
from tests.e2e.nodes import await_workers, bring_back, needs_nodes, spread, two_workers_without
from tuner import names
from tuner.cli.release import open_release_bucket
from tuner.study.records import Outcome

SPACE = (
    Path(__file__).parent / "space" / "marking_space.py",
    Path(__file__).parents[1] / "chaos" / "space" / "mean_colour.py",
)
TRIALS, EPOCHS = 16, 12
pytestmark = [pytest.mark.full, needs_nodes]


@pytest.fixture(scope="module")
def night(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study that lasts as long as the tests of this module, which follow one another."""
    storage = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    namespace.apply("PersistentVolumeClaim", "marks", spec=storage)
    release = Release(namespace, "night", image)
    release.install(
        study={
            "search": {"max_trials": TRIALS, "early_stopping": {"policy": "none"}},
            "training": {"epochs": EPOCHS},
            "leases": {"duration_s": 6.0},
            "space": {"import": "marking_space:MarkingSpace"},
        },
        space={"code": {file.name: file.read_text() for file in SPACE}},
        workers={"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
        extraVolumes=[{"name": "marks", "persistentVolumeClaim": {"claimName": "marks"}}],
        extraVolumeMounts=[{"name": "marks", "mountPath": "/marks"}],
    )
    until("two workers at work", lambda: release.at_work() == {"worker-0", "worker-1"})
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def await_progress(release: Release, epochs: int = 3) -> None:
    """Wait for epochs that are reported from now on; no trial has failed meanwhile."""
    previous_epochs = release.epochs()
    until("more epochs", lambda: release.epochs() >= previous_epochs + epochs)
    assert [trial for trial in release.trials() if trial["state"] == "FAILED"] == []


def test_more_workers_join_and_those_at_work_stay(night: Release) -> None:
    previous_uids = {pod["metadata"]["uid"] for pod in night.running("worker")}
    night.upgrade(workers__replicas=4)
    await_workers(night, 4)
    assert previous_uids <= {pod["metadata"]["uid"] for pod in night.running("worker")}


def test_workers_that_are_taken_away_hand_back_their_trials(night: Release) -> None:
    night.upgrade(workers__replicas=1)
    await_workers(night, 1)
    await_progress(night)


def test_a_chief_that_is_deleted_with_no_grace_is_replaced(night: Release) -> None:
    night.upgrade(workers__replicas=2)
    await_workers(night, 2)
    chief = night.running("chief")[0]["metadata"]["name"]
    night.namespace.kubectl("delete", "pod", chief, "--grace-period=0", "--force")
    await_progress(night)
    assert night.status()["chiefs"] >= 2


def test_a_worker_that_the_kernel_kills_for_its_memory_is_replaced(night: Release) -> None:
    worker = night.running("worker")[0]
    index = worker["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
    night.namespace.kubectl("exec", worker["metadata"]["name"], "--", "touch", f"/marks/oom-worker-{index}")

    def killed() -> bool:
        pod = night.namespace.get("pod", worker["metadata"]["name"])
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        return bool(ended["reason"] == "OOMKilled" and ended["exitCode"] == 137)

    until("the kernel to kill it", killed)
    await_workers(night, 2)
    await_progress(night)


def test_a_bucket_that_is_restarted_keeps_the_study(night: Release) -> None:
    old = {pod["metadata"]["uid"] for pod in night.running("bucket")}
    night.namespace.kubectl("delete", "pod", "-l", night.labels("bucket"), "--wait=false")
    until(
        "a new bucket",
        lambda: (new := {pod["metadata"]["uid"] for pod in night.running("bucket")}) and not new & old,
    )
    await_progress(night)


def test_a_preempted_nodes_worker_comes_back_elsewhere(night: Release, lose_node: Callable[[str, str], None]) -> None:
    lost = spread(night)
    lose_node(lost, "preempt")
    until("two workers elsewhere", lambda: two_workers_without(night, lost))
    await_workers(night, 2)
    await_progress(night)


def test_a_node_that_is_lost_and_deleted_takes_no_trial_with_it(
    night: Release, lose_node: Callable[[str, str], None]
) -> None:
    """The trial goes on at once, and the worker is replaced when the cloud removes the Node."""
    lost = spread(night)
    lose_node(lost, "kill")
    await_progress(night)
    run("kubectl", "delete", "node", lost)
    until("two workers elsewhere", lambda: two_workers_without(night, lost))
    await_workers(night, 2)


def test_a_node_that_is_lost_for_a_while_takes_no_trial_with_it(
    night: Release, lose_node: Callable[[str, str], None]
) -> None:
    """Nobody deletes the Node; it comes back without the pods that ran there, and its worker is replaced then."""
    lost = spread(night)
    lose_node(lost, "kill")
    await_progress(night)
    bring_back(lost)
    await_workers(night, 2)
    await_progress(night)


def test_nothing_was_lost_by_any_of_it_and_no_interruption_repeated_more_than_an_epoch(
    night: Release, tmp_path: Path
) -> None:
    """The verdict of `make chaos` over the study's journal, what is in its bucket, and the epochs really trained."""
    worker = night.running("worker")[0]["metadata"]["name"]
    night.namespace.kubectl("exec", worker, "--", "touch", "/marks/hurry")
    until("the search to end", lambda: night.status()["state"] == "finished", 600.0)
    night.await_evaluation()
    marks = tmp_path / "marks.jsonl"
    claim = {"persistentVolumeClaim": {"claimName": "marks"}}
    marks.write_text(night.namespace.run_once("reader", night.image, ["cat", "/marks/marks.jsonl"], marks=claim))
    with open_release_bucket(load(connect(night.namespace.name, None), night.name)) as bucket:
        segments = read_segments(bucket, night.name)
        objects = frozenset(bucket.list(names.study_prefix(night.name)))
    verdict = check(Left(segments, objects, read_marks(marks)))
    print_verdict(verdict)
    assert verdict.violations == ()
    assert {Rule.REPEATS, Rule.GRANTED, Rule.BEST, Rule.FINISHED} <= set(verdict.looked)
    assert sum(verdict.counts.trials.values()) == TRIALS
    assert verdict.counts.terms >= 2
    interrupted = verdict.counts.interruptions
    assert interrupted[Outcome.LOST] >= 3, "a worker killed by the kernel, and two with their nodes"
    assert interrupted[Outcome.PREEMPTED] >= 4, "three workers too many, and one whose node was preempted"
