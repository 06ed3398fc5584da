"""Releases in queues of Kueue, whose real controller runs in the cluster."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Namespace, Release, cifake_tune, new_namespace, run, until
from tests.e2e.nodes import SCRIPTS

ADDON = SCRIPTS / "addon"
GPU = "nvidia.com/gpu"
SMALL = {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}}
LONG: dict[str, Any] = {
    "search": {"max_trials": 400, "early_stopping": {"policy": "none"}},
    "training": {"epochs": 4},
    "data": {"batch_size": 64},
    "leases": {"duration_s": 6.0},
}
WITH_DEFAULT = "e2e-kueue-default"
"""Namespace with a LocalQueue called `default`."""
ELASTIC = "controllerManager.featureGates[0]"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not shutil.which(ADDON), reason="only ../shared/cluster installs Kueue"),
]


@pytest.fixture(scope="module", autouse=True)
def kueue(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install Kueue with elastic Jobs, and remove it: its webhooks see every Job of the cluster.

    In the namespaces of this module, it also manages Jobs that are in no queue.
    """
    gate = ["--set", f"{ELASTIC}.name=ElasticJobsViaWorkloadSlices", "--set", f"{ELASTIC}.enabled=true"]
    subprocess.run([ADDON, "kueue", *gate], check=True, capture_output=True, timeout=1200)
    selector = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace.name, WITH_DEFAULT]}
    stored = Namespace("kueue-system").get("configmap", "kueue-manager-config")["data"]
    configuration = yaml.safe_load(stored["controller_manager_config.yaml"]) | {
        "manageJobsWithoutQueueName": True,
        "managedJobsNamespaceSelector": {"matchExpressions": [selector]},
    }
    file = tmp_path_factory.mktemp("kueue") / "configuration.yaml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    managed = ["--set-file", f"managerConfig.controllerManagerConfigYaml={file}"]
    subprocess.run([ADDON, "kueue", *gate, *managed], check=True, capture_output=True, timeout=600)
    # nothing here asks for positions in queues, and an API that cannot be reached keeps namespaces from being deleted
    for version in ("v1beta1", "v1beta2"):
        run("kubectl", "delete", "apiservice", f"{version}.visibility.kueue.x-k8s.io", "--ignore-not-found")
    yield
    subprocess.run([ADDON, "remove", "kueue"], check=True, capture_output=True, timeout=600)


def make_queue(namespace: Namespace, name: str, gpus: int) -> None:
    """Make a LocalQueue with a quota of its own, and processors and memory enough for any release."""
    quotas = {"cpu": 32, "memory": "64Gi", "pods": 100, GPU: gpus}
    flavor = {
        "name": "any-node",
        "resources": [{"name": resource, "nominalQuota": quota} for resource, quota in quotas.items()],
    }
    cluster_queue = f"{namespace.name}-{name}"
    for kind, title, spec in (
        ("ResourceFlavor", "any-node", {}),
        (
            "ClusterQueue",
            cluster_queue,
            {"namespaceSelector": {}, "resourceGroups": [{"coveredResources": [*quotas], "flavors": [flavor]}]},
        ),
        ("LocalQueue", name, {"clusterQueue": cluster_queue}),
    ):
        manifest = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": title}, "spec": spec}
        # its webhook answers some seconds after its pod is ready
        until(f"the {kind}", lambda manifest=manifest: apply(namespace, manifest), 60.0)  # type: ignore[misc]


def apply(namespace: Namespace, manifest: dict[str, Any]) -> bool:
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    return True


def queues_of(release: Release) -> dict[str, str | None]:
    """Return the queues of its Jobs by component."""
    jobs = release.namespace.get("jobs", "-l", release.labels(""))
    labels = [job["metadata"]["labels"] for job in jobs]
    return {each["app.kubernetes.io/component"]: each.get("kueue.x-k8s.io/queue-name") for each in labels}


def uids(release: Release) -> dict[str, str]:
    """Return the identities of the workers' running pods by index."""
    pods = release.running("worker")
    index = "batch.kubernetes.io/job-completion-index"
    return {pod["metadata"]["labels"][index]: pod["metadata"]["uid"] for pod in pods}


def started_containers(release: Release) -> int:
    """Return how many containers of workers have started so far."""
    pods = release.pods("worker")
    return sum(1 + status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", ()))


def evaluates_during_search(release: Release) -> bool:
    """Return whether the search runs. An AssertionError if an evaluation ran before it had ended."""
    pods = release.pods("evaluator")
    is_searching = release.status()["state"] == "running"
    assert not (pods and is_searching)
    return is_searching


def install(release: Release, **values: Any) -> None:
    components = ("chief", "evaluator", "data")
    release.install(bucket={"emulator": {"storageClass": "-", **SMALL}}, **dict.fromkeys(components, SMALL), **values)


def assert_managed_without_queue(namespace: Namespace, image: str) -> None:
    """Assert that a Job in no queue stays suspended here, so that every Job of a release needs one."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    seccomp = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "main", "image": image, "args": ["--version"], "securityContext": security}
    template = {"spec": {"restartPolicy": "Never", "securityContext": seccomp, "containers": [container]}}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "alone"}, "spec": {"template": template}}
    apply(namespace, manifest)
    assert namespace.get("job", "alone")["spec"]["suspend"]
    namespace.kubectl("delete", "job", "alone")


def test_with_quota_for_two_of_three_workers_two_train(
    namespace: Namespace, release: Callable[[str], Release], image: str
) -> None:
    make_queue(namespace, "two", gpus=2)
    partial = release("partial")
    workers = {"replicas": 3, "gpus": 1, "queueName": "two", "minReplicas": 1, **SMALL}
    install(partial, study=LONG, workers=workers, kueue={"queueName": "two"})
    until("two workers to train", lambda: partial.at_work() == {"worker-0", "worker-1"})
    assert set(queues_of(partial).values()) == {"two"}
    assert len(partial.pods("worker")) == 2
    assert_managed_without_queue(namespace, image)
    spec = partial.job("worker")["spec"]
    assert (spec["parallelism"], spec["completions"]) == (2, 3)
    code, output = cifake_tune("status", "--release", "partial", "--namespace", namespace.name)
    assert code == 0, output
    assert (
        "worker 2: has no pod, because the quota of Kueue's queue two was enough for 2 of 3 workers; the others train "
        "all trials" in output
    )
    pods = uids(partial)
    partial.upgrade(workers={**workers, "replicas": 4})  # which Kueue would refuse, so the chart keeps the number
    assert uids(partial) == pods
    assert partial.job("worker")["spec"]["parallelism"] == 2


def test_from_two_to_three_workers_none_restarts(namespace: Namespace, release: Callable[[str], Release]) -> None:
    make_queue(namespace, "three", gpus=3)
    elastic = release("elastic")
    workers = {"replicas": 2, "gpus": 1, "queueName": "three", "elastic": True, **SMALL}
    install(elastic, study=LONG, workers=workers, kueue={"queueName": "three"})
    until("two workers to train", lambda: elastic.at_work() == {"worker-0", "worker-1"})
    two = uids(elastic)
    elastic.upgrade(workers={**workers, "replicas": 3})
    until("three workers to train", lambda: elastic.at_work() == {"worker-0", "worker-1", "worker-2"})
    three = uids(elastic)
    assert three.keys() == {"0", "1", "2"}
    assert two.items() <= three.items()
    assert started_containers(elastic) == 3
    elastic.upgrade(workers={**workers, "replicas": 1})
    until("one worker to remain", lambda: uids(elastic) == {"0": two["0"]})


def test_with_a_default_queue_the_evaluation_waits_for_the_search(image: str) -> None:
    """Kueue puts each Job in this queue, and resumes it as soon as there is room."""
    with new_namespace(WITH_DEFAULT) as namespace:
        make_queue(namespace, "default", gpus=2)
        waiting = Release(namespace, "waiting", image)
        study = {**LONG, "search": {"max_trials": 2, "early_stopping": {"policy": "none"}}}
        install(waiting, study=study, workers={"replicas": 1, "gpus": 1, **SMALL})
        until("Kueue to resume the evaluation", lambda: not waiting.job("evaluator")["spec"]["suspend"])
        until("a worker to train", waiting.at_work)
        assert set(queues_of(waiting).values()) == {"default"}
        assert waiting.job("evaluator")["spec"]["parallelism"] == 0
        assert waiting.pods("evaluator") == []
        code, output = cifake_tune("status", "--release", "waiting", "--namespace", namespace.name)
        assert code == 0, output
        until("the end of the search", lambda: not evaluates_during_search(waiting))
        waiting.await_evaluation()
        assert len(waiting.pods("evaluator")) == 1
        assert "accuracy" in waiting.logs("evaluator")
        run("helm", "uninstall", "waiting", "-n", namespace.name)
