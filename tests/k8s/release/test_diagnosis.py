"""Why a pod does not run is one sentence, with what mends it, out of what a real API server says."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from k8s.cluster.objects import Condition, Event, Job, Pod
from k8s.release.diagnosis import (
    deployment_problem,
    exit_code_meaning,
    is_pulling,
    job_problem,
    pod_problem,
    sidecar_problem,
)
from tests.k8s import captured
from tuner.errors import ExitCode

PODS = {
    "no-gpu": "is pending: 1 of 3 nodes has a taint that the pod does not tolerate; add the taint to tolerations, or "
    "remove it from the nodes; 2 of 3 nodes have fewer than 9 free nvidia.com/gpu; request fewer "
    "(workers.gpus), or add GPU nodes",
    "no-memory": "2 of 3 nodes have less free memory than the pod requests; lower resources.requests, or add",
    "no-node": "2 of 3 nodes do not match the pod's nodeSelector cloud.google.com/gke-accelerator=nvidia-l4; "
    "correct this value, or label the nodes",
    "no-claim": "is pending: the PersistentVolumeClaim missing does not exist; run helm upgrade to create it again",
    "unbound-claim": "is pending: the pod's volume unbound is not bound; run kubectl describe pvc to see whether",
    "no-image": "the image localhost:5000/cifake-tune:none cannot be pulled: the registry has no such image; correct "
    "image.repository and image.tag, or push the image",
    "no-registry": "the image registry.invalid/cifake-tune:1 cannot be pulled: the registry does not respond (",
    "bad-image-name": "the image name 'localhost:5000/cifake tune' is not valid; correct image.repository",
    "no-secret-env": 'cannot create its container: secret "missing" not found; create the missing object, or correct',
    "no-secret-volume": "cannot start, because the Secret cifake-tune-tls does not exist; create it, or correct the "
    "value",
    "crash-usage": "ended with exit code 2 (an error that a retry does not fix); the last line of its log: "
    "error: the environment variable KERASTUNER_ORACLE_IP is not set; it must be for this command; it was "
    "restarted 3 times",
    "exit-usage": "ended with exit code 2 (an error that a retry does not fix); the last line of its log: error: ",
    "no-command": 'cannot start its container: exec: "/does/not/exist": stat /does/not/exist: no such file',
    "oom": "was killed at its memory limit of 64Mi (OOMKilled); raise resources.limits.memory, or train smaller models",
    "preempted": "was evicted, because its node is being drained or a user requested the eviction",
}
LAST_LINE = "error: the environment variable KERASTUNER_ORACLE_IP is not set; it must be for this command."


@pytest.mark.parametrize("name", PODS)
def test_why_a_pod_does_not_run_is_a_sentence_with_what_mends_it(name: str) -> None:
    problem = pod_problem(captured.pods()[name], captured.events(), LAST_LINE)
    assert problem is not None
    assert PODS[name] in problem
    assert "\n" not in problem
    assert len(problem) < 400


def test_a_kubelet_that_has_not_read_a_new_secret_yet_is_no_trouble() -> None:
    pod = captured.pods()["no-secret-volume"]
    message = 'MountVolume.SetUp failed for volume "tls" : failed to sync secret cache: timed out waiting'
    mounts = [event for event in captured.events() if event.involved_object.uid == pod.metadata.uid]
    assert pod_problem(pod, mounts)
    assert pod_problem(pod, [event.model_copy(update={"message": message}) for event in mounts]) is None


def test_a_pod_that_runs_or_has_done_its_work_is_in_no_trouble() -> None:
    running = captured.pods()["running"]
    assert pod_problem(running, captured.events()) is None
    done = running.model_copy(update={"status": running.status.model_copy(update={"phase": "Succeeded"})})
    assert pod_problem(done, captured.events()) is None


def unschedulable(message: str) -> Pod:
    pod = captured.pods()["no-gpu"]
    conditions = [Condition(type="PodScheduled", status="False", reason="Unschedulable", message=message)]
    return pod.model_copy(update={"status": pod.status.model_copy(update={"conditions": conditions})})


@pytest.mark.parametrize(
    ("message", "sentence"),
    [  # as schedulers of other versions, and autoscaled clusters, word it
        (
            "0/5 nodes are available: 3 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {team: other}. "
            "preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.",
            "is pending: 3 of 5 nodes have fewer than 9 free nvidia.com/gpu; request fewer (workers.gpus), or add GPU "
            "nodes; 2 of 5 nodes have the taint team: other, which the pod does not tolerate; add the taint to "
            "tolerations, or remove it from the nodes",
        ),
        (
            "0/2 nodes are available: 1 node(s) were unschedulable, 1 node(s) had volume node affinity conflict.",
            "is pending: 1 of 2 nodes has been cordoned; run kubectl uncordon NODE; 1 of 2 nodes ",
        ),
        ("no nodes available to schedule pods", "is pending: no nodes available to schedule pods"),
    ],
)
def test_what_the_scheduler_says_is_put_in_words(message: str, sentence: str) -> None:
    assert (pod_problem(unschedulable(message)) or "").startswith(sentence)


def pull(message: str) -> str:
    pod = captured.pods()["no-image"]
    (status,) = pod.status.container_statuses
    waiting = {"reason": "ImagePullBackOff", "message": message}
    statuses = [status.model_copy(update={"state": type(status.state).model_validate({"waiting": waiting})})]
    return (
        pod_problem(pod.model_copy(update={"status": pod.status.model_copy(update={"container_statuses": statuses})}))
        or ""
    )


@pytest.mark.parametrize(
    ("message", "sentence"),
    [  # as containerd words the answers of Artifact Registry, Docker Hub and a proxy
        (
            'failed to resolve reference "europe-docker.pkg.dev/p/r/i:1": failed to authorize: failed to fetch oauth '
            "token: unexpected status from GET request: 403 Forbidden",
            "imagePullSecrets",
        ),
        (
            "pull access denied, repository does not exist or may require authorization: server message",
            "imagePullSecrets",
        ),
        ("httpReadSeeker: failed open: unexpected status code: 429 Too Many Requests - toomanyrequests: limit", "wait"),
        ('failed to do request: Head "https://r.example/v2/": dial tcp 10.0.0.1:443: i/o timeout', "does not respond"),
    ],
)
def test_the_registrys_own_word_says_what_to_do_about_an_image(message: str, sentence: str) -> None:
    assert sentence in pull(message)


JOBS = {
    "over-quota": "no pod can be created: the quota team allows 1 requests.nvidia.com/gpu, of which 9 are used, and "
    "the pod requests 2 more; lower workers.replicas, workers.gpus or resources, or ask an administrator to raise the "
    "quota",
    "not-restricted": "no pod can be created: the namespace enforces the pod security standard restricted, which the "
    "pod violates (runAsNonRoot",
    "fails": "the Job fails has failed: exit code 2 (an error that a retry does not fix); fix the cause, and run "
    "kubectl delete job fails, and apply the manifests again to create a new Job",
}


def test_a_failed_job_that_helm_installed_is_created_again_by_helm() -> None:
    job = captured.jobs()["fails"].model_dump(by_alias=True)
    job["metadata"]["annotations"] = {"meta.helm.sh/release-name": "night"}
    problem = job_problem(Job.model_validate(job)) or ""
    assert problem.endswith("fix the cause, and run helm upgrade to create a new Job")


@pytest.mark.parametrize("name", JOBS)
def test_why_a_job_makes_no_pods_is_a_sentence(name: str) -> None:
    problem = job_problem(captured.jobs()[name], captured.events())
    assert problem is not None
    assert problem.startswith(JOBS[name])


def test_a_job_that_waits_for_its_turn_is_in_no_trouble_unless_a_queue_holds_it() -> None:
    job = captured.jobs()["suspended"]
    assert job_problem(job, captured.events()) is None
    queued = job.model_dump(by_alias=True) | {
        "metadata": {"name": "workers", "labels": {"kueue.x-k8s.io/queue-name": "team-a"}}
    }
    assert (job_problem(Job.model_validate(queued)) or "").startswith("waits in Kueue's queue team-a")
    not_started = queued | {"spec": {"suspend": True, "parallelism": 0}}  # the evaluation during the search
    assert job_problem(Job.model_validate(not_started)) is None


def test_a_bucket_that_may_not_be_made_is_explained() -> None:
    problem = deployment_problem(captured.deployments()["bucket"])
    assert problem is not None
    assert problem.startswith("no pod can be created: the namespace enforces the pod security standard restricted")


@pytest.mark.parametrize("code", [code for code in ExitCode if code is not ExitCode.DONE])
def test_every_exit_code_of_the_program_has_a_meaning(code: ExitCode) -> None:
    assert "not an exit code of cifake-tune" not in exit_code_meaning(code)


# ---- sidecars, image pulls and claims ---------------------------------------------------------------
NOW = datetime(2026, 11, 29, 17, 9, 0, tzinfo=UTC)


def with_sidecar(finished_at: str, exit_code: int = 0, sidecar: dict[str, Any] | None = None) -> Pod:
    """Return a pod of the data Job into which a mesh has injected a proxy, as the API server has it."""
    ended = {"exitCode": exit_code, "reason": "Completed" if not exit_code else "Error", "finishedAt": finished_at}
    runs = {"running": {"startedAt": "2026-11-29T17:00:00Z"}}
    statuses = [
        {"name": "istio-proxy", "ready": True, "state": sidecar or runs},
        {"name": "data", "ready": False, "state": {"terminated": ended}},
    ]
    return Pod.model_validate(
        {
            "metadata": {"name": "night-data-x", "uid": "u", "labels": {"app.kubernetes.io/component": "data"}},
            "status": {"phase": "Running", "containerStatuses": statuses},
        }
    )


def test_a_pod_that_only_an_injected_sidecar_keeps_running_is_told_with_the_ways_out() -> None:
    problem = sidecar_problem(with_sidecar("2026-11-29T17:05:00Z"), NOW) or ""
    assert problem.startswith("has ended with exit code 0 (its work is done), but the container istio-proxy, which")
    assert "so the pod never completes; use native sidecars" in problem
    assert problem.endswith(
        "upgrade the release; kubectl delete pod night-data-x helps only then, because the next pod repeats its work"
    )
    assert "podAnnotations" in problem
    assert "CIFAKE_TUNE_QUIT_URL" in problem
    assert "exit code 3 (the bucket" in (sidecar_problem(with_sidecar("2026-11-29T17:05:00Z", 3), NOW) or "")


def test_a_real_pod_that_its_sidecar_keeps_running_has_the_phase_running_and_a_problem() -> None:
    pod = Pod.model_validate_json((captured.FOLDER / "sidecar.json").read_bytes())
    assert pod.status.phase == "Running"
    assert pod_problem(pod) is None
    late = datetime(2026, 11, 29, 18, 0, 0, tzinfo=UTC)
    assert "but the container proxy, which another program has injected, still runs" in (
        sidecar_problem(pod, late) or ""
    )


def test_a_sidecar_has_time_to_end() -> None:
    assert sidecar_problem(with_sidecar("2026-11-29T17:08:50Z"), NOW) is None
    ended = {"terminated": {"exitCode": 0, "finishedAt": "2026-11-29T17:05:01Z"}}
    assert sidecar_problem(with_sidecar("2026-11-29T17:05:00Z", sidecar=ended), NOW) is None
    assert sidecar_problem(captured.pods()["running"], NOW) is None


def event(reason: str, message: str, uid: str = "u", name: str = "") -> Event:
    return Event.model_validate(
        {"involvedObject": {"uid": uid, "name": name}, "reason": reason, "message": message, "type": "Normal"}
    )


PULLING = event("Pulling", 'Pulling image "registry/cifake-tune:1"')
PULLED = event("Pulled", 'Successfully pulled image "registry/cifake-tune:1" in 41.2s (41.2s including waiting)')
PRESENT = event("Pulled", 'Container image "registry/cifake-tune:1" already present on machine')


@pytest.mark.parametrize(
    ("events", "expected"),
    [([PULLING], True), ([PULLING, PULLED], False), ([PRESENT], False), ([PRESENT, PULLING], True), ([], False)],
)
def test_an_image_pull_is_told_from_a_start(events: list[Event], expected: bool) -> None:
    status = {"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}
    creating = Pod.model_validate(
        {"metadata": {"uid": "u"}, "status": {"phase": "Pending", "containerStatuses": [status]}}
    )
    assert is_pulling(creating, events) is expected
    assert is_pulling(captured.pods()["running"], [PULLING]) is False


def test_a_claim_that_no_storage_class_provides_is_named_with_the_value_that_needs_none() -> None:
    parts = json.loads((captured.FOLDER / "no_class.json").read_text(encoding="utf-8"))
    pod, events = Pod.model_validate(parts["pod"]), [Event.model_validate(event) for event in parts["events"]]
    problem = pod_problem(pod, events) or ""
    assert problem.startswith(
        "is pending: the PersistentVolumeClaim night-cifake-tune-bucket stays Pending, because the cluster has no "
        "default StorageClass; set bucket.emulator.storageClass to a class"
    )
    assert 'or to "-" for a bucket that is lost with its pod' in problem
    assert 'bucket.emulator.storageClass to a class, or to "-"' in (pod_problem(pod) or "")  # events may not be listed
