"""What stops a release is explained by `status` and `doctor`, in a sentence each, from outside the cluster."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Namespace, Release, cifake_tune, conditions_of, run, until
from tests.e2e.nodes import needs_nodes
from tests.support.refuser import running_refuser

GPUS = "requests.nvidia.com/gpu"
SHORT = {"search": {"max_trials": 2}, "training": {"epochs": 1}}


def status(release: Release) -> str:
    """Return what `status` prints; its exit code shows whether something is broken."""
    code, output = cifake_tune("status", "--release", release.name, "--namespace", release.namespace.name)
    assert code in (0, 3), output
    return output


def is_broken(release: Release) -> bool:
    """Say what the exit code of `status` and its JSON agree on."""
    where = ("--release", release.name, "--namespace", release.namespace.name)
    code, output = cifake_tune("status", *where, "--json")
    assert code == (3 if json.loads(output)["broken"] else 0)
    return code == 3


def doctor(release: Release, *more: str) -> tuple[int, str]:
    return cifake_tune("doctor", "--release", release.name, "--namespace", release.namespace.name, *more)


def await_status(release: Release, sentence: str) -> str:
    """Wait until `status` says it."""

    def probe() -> str:
        output = status(release)
        if sentence not in output:
            raise LookupError(output)
        return output

    return until(f"status to say {sentence!r}", probe, 180.0)


def check_install(namespace: Namespace, image: str, *settings: str, more: tuple[str, ...] = ()) -> tuple[int, str]:
    repository, _, tag = image.rpartition(":")
    all_settings = [f"image.repository={repository}", f"image.tag={tag}", *settings]
    flags = [part for setting in all_settings for part in ("--set", setting)]
    return cifake_tune("doctor", "--namespace", namespace.name, *flags, *more)


def test_a_cluster_that_takes_the_release_is_fine_before_the_install_and_no_probe_stays(
    namespace: Namespace, image: str
) -> None:
    code, output = check_install(namespace, image)
    assert code == 0, output
    assert f"the image {image} started after" in output
    assert "enforces the pod security standard restricted" in output
    assert "kubernetes.default.svc is resolved" in output
    until("the probe to go", lambda: not namespace.get("pods", "-l", "app.kubernetes.io/component=doctor"))


def test_workers_that_ask_for_more_gpus_than_a_node_has_are_explained(
    namespace: Namespace, image: str, release: Callable[[str], Release]
) -> None:
    code, output = check_install(namespace, image, "workers.gpus=99")
    assert code == 3
    assert "workers request 99 nvidia.com/gpu each, but no node that accepts workers has more than" in output
    greedy = release("greedy")
    greedy.install(study=SHORT, workers={"gpus": 99, "replicas": 1})
    output = await_status(greedy, "worker 0: is pending:")
    assert "nodes have fewer than 99 free nvidia.com/gpu; request fewer (workers.gpus), or add GPU nodes" in output
    assert doctor(greedy, "--no-probe")[0] == 3
    assert is_broken(greedy)


def test_an_image_that_does_not_exist_is_explained(
    namespace: Namespace, image: str, release: Callable[[str], Release]
) -> None:
    missing = f"{image.rpartition(':')[0]}:missing"
    sentence = f"the image {missing} cannot be pulled: the registry has no such image; correct image.repository"
    code, output = check_install(namespace, missing)
    assert code == 3
    assert sentence in output
    nowhere = release("nowhere")
    nowhere.image = missing
    nowhere.install(study=SHORT)
    await_status(nowhere, f"data, bucket, tls: {sentence}")
    assert is_broken(nowhere)
    code, output = doctor(nowhere)
    assert code == 3
    assert f"tls: {sentence}" in output


def test_a_volume_that_the_namespace_forbids_is_found_before_the_install(namespace: Namespace, image: str) -> None:
    host_path = ["extraVolumes[0].name=disk", "extraVolumes[0].hostPath.path=/mnt/disk"]
    code, output = check_install(namespace, image, *host_path, "workers.gpus=0")
    assert code == 3
    refused = "the API server refuses the pods of chief, data, evaluator, worker"
    violated = "the namespace enforces the pod security standard restricted, which the pod violates (restricted volume"
    assert f"{refused}: {violated} types" in output
    code, output = check_install(namespace, image, "workers.priorityClassName=nights", "workers.gpus=0")
    assert code == 3
    assert (
        "the API server refuses the pods of worker: there is no PriorityClass nights; correct priorityClass" in output
    )


def test_who_may_do_nothing_is_told_what_an_administrator_has_to_grant(
    namespace: Namespace, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.kubectl("create", "serviceaccount", "guest")
    token = namespace.kubectl("create", "token", "guest")
    cluster = json.loads(run("kubectl", "config", "view", "--raw", "--minify", "-o", "json"))["clusters"]
    context = {"name": "guest", "context": {"cluster": cluster[0]["name"], "user": "guest"}}
    users = [{"name": "guest", "user": {"token": token}}]
    config = {"kind": "Config", "clusters": cluster, "users": users, "contexts": [context], "current-context": "guest"}
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    code, output = check_install(namespace, image)
    assert code == 3
    assert "broken rights you may not create jobs.batch, deployments.apps, services, configmaps, secrets," in output
    assert f"Ask an administrator to run kubectl create rolebinding NAME -n {namespace.name}" in output
    assert "you may not list nodes" in output
    assert f"you may not create pods in namespace {namespace.name}, so admission was not checked" in output
    assert f"you may not create pods in namespace {namespace.name}, so the probe was not run" in output


@pytest.mark.parametrize(
    ("setting", "severity", "sentence"),
    [
        ("", "fine", "the release's own bucket gets a volume of the default StorageClass standard"),
        ("standard", "fine", "the release's own bucket gets a volume of StorageClass standard"),
        (
            "-",
            "warning",
            'bucket.emulator.storageClass is "-", so the release\'s own bucket is lost with its pod',
        ),
        ("gold", "broken", "requires StorageClass gold, which does not exist (existing: standard)"),
    ],
)
def test_what_volume_the_bucket_gets_is_said_before_the_install(
    namespace: Namespace, image: str, setting: str, severity: str, sentence: str
) -> None:
    code, output = check_install(
        namespace, image, "workers.gpus=0", f"bucket.emulator.storageClass={setting}", more=("--no-probe",)
    )
    assert code == (3 if severity == "broken" else 0)
    assert re.search(rf"{severity} +storage +.*{re.escape(sentence)}", output), output


def test_a_quota_that_is_used_up_is_explained(
    namespace: Namespace, image: str, release: Callable[[str], Release]
) -> None:
    namespace.apply("ResourceQuota", "team", spec={"hard": {GPUS: "1"}})
    try:
        # the pods of the test before may still be going
        until("the quota", lambda: namespace.get("resourcequota", "team")["status"]["used"] == {GPUS: "0"})
        code, output = check_install(namespace, image, "workers.replicas=2")
        assert code == 3
        assert (
            "the quota team allows 1 requests.nvidia.com/gpu, of which 0 are used, and the release requests 2" in output
        )
        many = release("many")
        many.install(study=SHORT, workers={"replicas": 2})
        await_status(
            many,
            "no pod can be created: the quota team allows 1 requests.nvidia.com/gpu, of which 1 are used, and the pod "
            "requests",
        )
        code, output = doctor(many, "--no-probe")
        assert code == 3
        assert (
            "warning quota the quota team allows 1 requests.nvidia.com/gpu, of which 1 are used, and the release "
            "requests 1" in output
        )
        assert (
            "fine storage the release's own bucket has a volume of StorageClass standard (claim many-cifake-tune-"
            in output
        )
    finally:
        namespace.kubectl("delete", "resourcequota", "team")


@pytest.fixture(scope="module")
def small(namespace: Namespace, image: str) -> Iterator[Release]:
    """A release whose worker has too little memory to import Keras; all else of it works."""
    release = Release(namespace, "small", image)
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    release.install(study=SHORT, workers={"replicas": 1, "resources": resources})
    yield release
    release.uninstall()


def test_a_job_that_has_failed_is_made_again_by_an_upgrade_with_the_same_values(
    release: Callable[[str], Release],
) -> None:
    """What it failed for may have been mended outside the chart; here nothing was, and it fails again."""
    strict = release("strict")
    strict.install(study=SHORT, workers={"replicas": 1, "requireGPU": True})

    def failed() -> str | None:
        job = strict.job("worker")
        return job["metadata"]["name"] if "Failed" in conditions_of(job) else None

    first = until("the workers to end for want of a GPU", failed)
    strict.upgrade()
    second = strict.job("worker")["metadata"]["name"]
    assert second == f"{first}-2"
    strict.upgrade(workers__replicas=2)  # the one that is made now has not failed yet
    assert strict.job("worker")["metadata"]["name"] in (second, f"{first}-3")
    assert until("it to end again", failed) != first


def test_a_worker_that_is_out_of_memory_is_explained(small: Release) -> None:
    output = await_status(small, "was killed at its memory limit of 128Mi (OOMKilled)")
    assert "raise workers.resources.limits.memory, or train smaller models or batches" in output
    assert "worker 0: " in output
    code, output = doctor(small, "--no-probe")
    assert "was killed at its memory limit of 128Mi (OOMKilled)" in output
    assert code in (0, 3)  # between two tries the new pod is fine


def test_the_study_of_a_release_is_read_through_the_cluster(small: Release) -> None:
    where = ("--release", small.name, "--namespace", small.namespace.name)
    output = await_status(small, "study small: 0 of 2 trials")
    assert "chief running" in output
    code, output = cifake_tune("status", *where, "--json")
    assert code in (0, 3)  # between two tries the worker is fine
    parsed = json.loads(output)
    assert parsed["study"]["study"] == "small"
    assert parsed["notes"] == []  # the chief answers over TLS
    assert cifake_tune("trials", *where, "--json") == (0, "[]")
    code, output = cifake_tune("logs", *where, "--component", "chief")
    assert code == 0
    assert "chief | " in output
    assert "chief of study small, term 1, listens on port" in output
    assert cifake_tune("logs", "7", *where) == (2, "error: there is no trial '7'. Study small has no logs yet.")


def test_the_probe_finds_bucket_names_and_port_in_order(small: Release) -> None:
    until("the chief to listen", lambda: "listens on port" in small.logs("chief"))
    output = until(
        "the probe to reach the chief", lambda: s if "accepts connections" in (s := doctor(small)[1]) else None
    )
    assert f"the Service {small.chart_name}-chief accepts connections on port 8000" in output
    assert "gs://cifake-tune creates, reads, lists and deletes objects" in output
    assert f"{small.chart_name}-chief is resolved inside the cluster" in output


@pytest.mark.skipif("CLUSTER_ADDRESS" not in os.environ, reason="needs an address of this machine that pods can call")
def test_a_bucket_without_rights_is_explained(release: Callable[[str], Release]) -> None:
    with running_refuser(403, os.environ.get("CLUSTER_ADDRESS", "")) as refuser:
        closed = release("closed")
        closed.install(
            study=SHORT,
            workers={"replicas": 1},
            bucket={"url": "gs://not-ours"},
            extraEnv=[{"name": "STORAGE_EMULATOR_HOST", "value": refuser.url}],
        )
        role = "Give this account the role roles/storage.objectUser on the bucket not-ours"
        output = await_status(
            closed, "exit code 3 (the bucket or the chief failed, so the pod is retried); the last line of its log: "
        )
        assert role in output
        code, output = doctor(closed)
        assert code == 3
        assert role in output


def test_a_chief_that_keeps_exiting_2_is_broken(release: Callable[[str], Release]) -> None:
    wrong = release("wrong")
    wrong.install(study=SHORT | {"space": {"import": "nowhere:Space"}}, workers={"replicas": 1, "gpus": 0})
    await_status(wrong, "exit code 2 (an error that a retry does not fix)")
    assert is_broken(wrong)
    code, output = doctor(wrong, "--no-probe")
    assert code == 3
    assert "broken pods chief: " in output


@needs_nodes
@pytest.mark.full
def test_workers_on_a_killed_node_are_lost_and_the_way_out_is_named(
    release: Callable[[str], Release], lose_node: Callable[[str, str], None]
) -> None:
    """They asked for GPUs and train on the CPU, which is said as well while they are there."""
    place = [{"nodeSelector": {"kubernetes.io/hostname": name}} for name in ("node-1", "node-2")]
    dead = release("dead")
    dead.install(
        study={"search": {"max_trials": 50}, "training": {"epochs": 50}},
        workers={"replicas": 2, "gpus": 1, **place[1]},
        chief=place[0],
        bucket={"emulator": place[0]},
    )
    output = await_status(dead, "workers 0, 1: requested 1 nvidia.com/gpu and finds none, so it trains on the CPU")
    assert "make image LOCK=cuda" in output
    assert "workers.gpus=0" in output
    assert not is_broken(dead)
    lose_node("node-2", "kill")
    output = await_status(dead, "if its machine is gone, run kubectl delete node node-2, so that the pod is replaced")
    assert "workers 0 of 2" in output
    assert "is on node node-2, which has not responded since 20" in output
    assert is_broken(dead)
    code, output = doctor(dead, "--no-probe")
    assert code == 3
    assert "broken pods worker 0: is on node node-2, which has not responded since 20" in output
    run("kubectl", "delete", "node", "node-2")
    until("the workers to be replaced", lambda: "is pending" in status(dead))


SIDECAR = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.end_headers(); self.wfile.flush(); os._exit(0)
http.server.HTTPServer(("127.0.0.1", 15020), Handler).serve_forever()
"""


def install_with_sidecars(release: Release, **values: Any) -> None:
    """Install with a proxy in every pod of a Job, as a service mesh injects it: it ends when it is asked to."""
    release.values |= values
    documents = [document for document in yaml.safe_load_all(release.render()) if document]
    for document in documents:
        if document["kind"] == "Job":
            spec = document["spec"]["template"]["spec"]
            (main,) = spec["containers"]
            proxy = {"name": "proxy", "image": main["image"], "securityContext": main["securityContext"]}
            spec["containers"] = [proxy | {"command": ["python", "-c", SIDECAR]}, main]
    # As JSON: PyYAML writes a hash such as 1234e567 without quotes, and Kubernetes then reads a number.
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    release.namespace.kubectl("apply", "-f", "-", stdin=manifest)


def remove(release: Release) -> None:
    release.namespace.kubectl("delete", "all,configmaps,secrets,networkpolicies,pvc", "-l", release.labels(""))


def test_pods_that_an_injected_sidecar_keeps_running_are_told(namespace: Namespace, image: str) -> None:
    meshed = Release(namespace, "meshed", image)
    try:
        install_with_sidecars(meshed, study=SHORT, workers={"replicas": 1, "gpus": 0})
        output = await_status(meshed, "data: has ended with exit code 0 (its work is done), but the container proxy")
        assert "CIFAKE_TUNE_QUIT_URL" in output
        assert is_broken(meshed)
        code, output = doctor(meshed, "--no-probe")
        assert code == 3
        assert "broken pods data: has ended with exit code 0" in output
    finally:
        remove(meshed)


def test_sidecars_that_are_asked_to_end_let_a_study_finish(namespace: Namespace, image: str) -> None:
    asked = Release(namespace, "asked", image)
    quit_url = {"name": "CIFAKE_TUNE_QUIT_URL", "value": "http://localhost:15020/quitquitquit"}
    try:
        install_with_sidecars(asked, study=SHORT, workers={"replicas": 1, "gpus": 0}, extraEnv=[quit_url])
        asked.await_evaluation()
    finally:
        remove(asked)


def test_a_release_that_is_not_there_is_an_error_that_names_those_that_are(
    namespace: Namespace, small: Release
) -> None:
    code, output = cifake_tune("status", "--release", "smal", "--namespace", namespace.name)
    assert code == 2
    assert "has no release 'smal' of cifake-tune; it has small" in output


@pytest.mark.full
def test_a_release_works_with_a_dead_proxy_in_the_environment_of_its_pods(release: Callable[[str], Release]) -> None:
    behind = release("behind")
    variables = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    behind.install(
        study={"search": {"max_trials": 1}, "training": {"epochs": 1}},
        workers={"replicas": 1, "gpus": 0},
        extraEnv=[{"name": variable, "value": "http://127.0.0.1:9"} for variable in variables],
    )
    behind.await_evaluation()
