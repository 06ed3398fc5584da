"""The pod that `doctor` starts is placed and restricted as the workers are."""

from typing import Any

from k8s.cluster.objects import Job
from k8s.doctor.probe import _manifest as manifest
from k8s.doctor.requirements import Requirements, of_flags, of_objects

LIKE_A_JOB = {"app.kubernetes.io/component": "worker", "batch.kubernetes.io/job-name": "w", "job-name": "w"}


def workers(labels: dict[str, str], **spec: Any) -> Requirements:
    job = {
        "metadata": {"labels": {"app.kubernetes.io/component": "worker"}},
        "spec": {"template": {"metadata": {"labels": LIKE_A_JOB | labels}, "spec": spec}},
    }
    return of_objects([Job.model_validate(job)], [], [])


def test_the_pod_is_who_and_where_the_workers_are() -> None:
    affinity: dict[str, Any] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    }
    requirements = workers({"team": "vision"}, securityContext={"runAsUser": 2000}, affinity=affinity)
    pod = manifest("probe", requirements, None)
    assert pod["spec"]["securityContext"] == {"runAsUser": 2000}
    assert pod["spec"]["affinity"] == affinity
    assert pod["metadata"]["labels"] == {
        "team": "vision",
        "app.kubernetes.io/name": "cifake-tune",
        "app.kubernetes.io/component": "doctor",
    }


def test_the_pod_waits_in_the_workers_queue() -> None:
    queue = "kueue.x-k8s.io/queue-name"
    labels = {"app.kubernetes.io/component": "worker", queue: "research"}
    requirements = of_objects([Job.model_validate({"metadata": {"labels": labels}})], [], [])
    assert manifest("probe", requirements, None)["metadata"]["labels"][queue] == "research"
    assert queue not in manifest("probe", workers({}), None)["metadata"]["labels"]


def test_the_pod_has_the_workers_extra_variables_and_none_that_makes_it_a_worker() -> None:
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    index = {"name": "WORKER_INDEX", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    ours = [{"name": "CIFAKE_TUNE_TLS_CERT", "value": "/tls.crt"}, {"name": "KERASTUNER_TUNER_ID", "value": "w"}, index]
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    requirements = workers({}, containers=[{"name": "worker", "image": "i", "env": [*ours, proxy, secret]}])
    assert manifest("probe", requirements, None)["spec"]["containers"][0]["env"] == [proxy, secret]


def test_the_pod_has_the_credentials_certificates_and_volume_of_the_bucket() -> None:
    credentials = {"secretRef": {"name": "minio"}}
    mounts = [{"name": "ca-bundle", "mountPath": "/ca"}, {"name": "bucket", "mountPath": "/bucket", "subPath": "runs"}]
    volumes = [
        {"name": "ca-bundle", "configMap": {"name": "authorities"}},
        {"name": "bucket", "persistentVolumeClaim": {"claimName": "shared"}},
    ]
    container = {"name": "worker", "image": "i", "envFrom": [credentials], "volumeMounts": mounts}
    spec = manifest("probe", workers({}, containers=[container], volumes=volumes), None)["spec"]
    assert spec["containers"][0]["envFrom"] == [credentials]
    assert spec["containers"][0]["volumeMounts"][1:] == mounts
    assert spec["volumes"][1:] == volumes


def test_with_an_image_alone_the_pod_is_as_the_chart_makes_them() -> None:
    spec = manifest("probe", of_flags("image", 1, 0, ""), None)["spec"]
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (10001, True)
    assert spec["containers"][0]["env"] == []
