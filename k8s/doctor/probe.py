"""The probe, a short-lived pod that checks the cluster from inside, with the restrictions of the workers' pods."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from pydantic import ValidationError

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.gpus import requested_gpus
from k8s.cluster.objects import Container, Event, Pod, PodSpec
from k8s.doctor.findings import FINDINGS, Finding, Severity, broken, fine, warning
from k8s.doctor.requirements import Requirements
from k8s.release import release as releases
from k8s.release.diagnosis import creation_problem, pod_problem
from k8s.release.lost_nodes import NodeStates
from k8s.release.release import Release
from tuner import names

POLL_S = 0.5
UNSCHEDULED_S = 10.0
"""Seconds after which a pod without a node is reported as unschedulable."""
PULL_S = 600.0
"""Maximum duration of the probe in seconds. It is long enough to pull an image of 2 GB."""
COMPONENT = "doctor"
_SECURITY_CONTEXT = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The chart's default security context. It is used if the requirements contain none."""
_JOB_LABELS = re.compile(r"app\.kubernetes\.io/|batch\.kubernetes\.io/|controller-uid$|job-name$")
"""Labels of a worker's pod by which objects select it. Its other labels are podLabels and commonLabels."""
_CHART_VOLUMES = {"scratch", "study", "space", "tls", "cache", "shared-memory"}
"""Volumes of a worker that the chart defines. Its other volumes are extraVolumes, such as one with a key file."""
_WORKER_VARIABLES = re.compile(rf"CIFAKE_TUNE_|KERASTUNER_|WORKER_INDEX$|{names.ENV_EMULATOR}$")
"""Environment variables of a worker that the chart defines. Its other variables are extraEnv."""


def probe(cluster: Cluster, requirements: Requirements, release: Release | None) -> Iterator[Finding]:
    """Run the image once in a pod, and yield the pod's findings.

    The pod is always deleted. Raises EnvironmentFailure if the API server fails.
    """
    name = f"cifake-tune-doctor-{token_hex(4)}"
    try:
        cluster.create(Pod, _manifest(name, requirements, release))
    except ApiRefusedError as error:
        if error.is_missing_permission:
            yield warning(
                "probe", f"you may not create pods in namespace {cluster.namespace}, so the probe was not run"
            )
            return
        yield broken(
            "probe", f"no pod can be created in namespace {cluster.namespace}: {creation_problem(error.reason)}"
        )
        return
    try:
        for finding in _watch(cluster, name, requirements):
            yield finding if release else _before_install(finding)
    finally:
        cluster.delete(Pod, name)


def _before_install(finding: Finding) -> Finding:
    """Turn a broken bucket into a warning before an installation.

    The probe runs with the namespace's default service account. The release's own account, which does not exist yet,
    may have more rights.
    """
    if finding.check != "bucket" or finding.severity is not Severity.BROKEN:
        return finding
    what = (
        f"{finding.what}; the probe used the namespace's default service account, because the release's own account "
        "does not exist yet"
    )
    return warning(finding.check, what, finding.fix)


def _watch(cluster: Cluster, name: str, requirements: Requirements) -> Iterator[Finding]:
    began = time.monotonic()
    started_s: float | None = None
    while True:
        pod = cluster.get(Pod, name)
        waited_s = time.monotonic() - began
        if started_s is None and pod.status.phase in ("Running", "Succeeded", "Failed"):
            started_s = waited_s
        if pod.status.phase in ("Succeeded", "Failed") or _has_ended(pod):
            break
        problem = _problem(cluster, pod)
        is_scheduled = bool(pod.spec.node_name)
        if (problem and (is_scheduled or waited_s > UNSCHEDULED_S)) or waited_s > PULL_S:
            what = problem or f"did not end within {PULL_S:g} s"
            yield broken("image" if is_scheduled else "probe", what if "image" in what else f"the probe's pod {what}")
            return
        time.sleep(POLL_S)
    log = cluster.log(name, container=COMPONENT)
    try:
        findings = FINDINGS.validate_json(log[log.index("[") :])
    except (ValueError, ValidationError):
        problem = pod_problem(pod, [], log.strip().rpartition("\n")[2]) or f"wrote {log[-200:]!r}"
        yield broken(
            "image",
            f"the image {requirements.image} cannot run `cifake-tune doctor`: it {problem}",
            "Use the image of a newer version of cifake-tune.",
        )
        return
    yield fine("image", f"the image {requirements.image} started after {started_s or 0:.0f} s on {pod.spec.node_name}")
    yield from findings


def _has_ended(pod: Pod) -> bool:
    """Return whether the probe itself has ended, although an injected sidecar may still run."""
    return any(s.name == COMPONENT and s.state.terminated for s in pod.status.container_statuses)


def _problem(cluster: Cluster, pod: Pod) -> str | None:
    try:
        events = cluster.list(Event)
    except ApiRefusedError:
        events = []
    return pod_problem(pod, events, states=NodeStates(datetime.now(UTC)))


def _manifest(name: str, requirements: Requirements, release: Release | None) -> dict[str, Any]:
    workers = requirements.pods_of(releases.WORKER)
    spec = workers.spec if workers else PodSpec()
    container = spec.main(releases.WORKER) or Container(name=releases.WORKER)
    policy, mounts = container.image_pull_policy, container.volume_mounts
    arguments = ["doctor", "--inside", "--json"]
    # the release's own bucket and the Service do not exist before an installation
    if requirements.bucket_url and (release or not requirements.own_bucket):
        arguments += ["--bucket", requirements.bucket_url]
    gpus = requested_gpus(spec)
    if gpus.is_nvidia:
        arguments += ["--gpus", str(gpus.count)]
        if gpus.resource != names.GPU_RESOURCE:
            arguments += ["--gpu-resource", gpus.resource]
    if release:
        arguments += ["--service", release.chief_host]
        if release.chief_listens:
            arguments += ["--chief", f"{release.chief_host}:{release.chief_port}"]
    labels = {key: value for key, value in (workers.labels if workers else {}).items() if not _JOB_LABELS.match(key)}
    labels |= {names.LABEL_NAME: names.APPLICATION, names.LABEL_COMPONENT: COMPONENT}
    if workers and workers.queue:  # a Kueue that manages pods would hold one without a queue back for ever
        labels[names.LABEL_QUEUE] = workers.queue
    address = requirements.own_bucket.address if requirements.own_bucket else ""
    environment: list[dict[str, Any]] = [{"name": names.ENV_EMULATOR, "value": address}] if address else []
    environment += [
        variable.model_dump(by_alias=True, exclude_none=True)
        for variable in container.env
        if not _WORKER_VARIABLES.match(variable.name)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        # the labels of the release make its NetworkPolicies apply to the probe
        "metadata": {"name": name, "labels": labels | ({names.LABEL_RELEASE: release.name} if release else {})},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(PULL_S) + 60,  # in case this process cannot delete it
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            **({"serviceAccountName": spec.service_account_name} if release and spec.service_account_name else {}),
            "nodeSelector": dict(spec.node_selector),
            "tolerations": [t.model_dump(by_alias=True, exclude_defaults=True) for t in spec.tolerations],
            "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets],
            "affinity": spec.affinity,
            "securityContext": spec.security_context or _SECURITY_CONTEXT,
            "volumes": [
                {"name": "scratch", "emptyDir": {}},
                *(
                    v.model_dump(by_alias=True, exclude_unset=True)
                    for v in spec.volumes
                    if v.name not in _CHART_VOLUMES
                ),
            ],
            "containers": [
                {
                    "name": COMPONENT,
                    "image": requirements.image,
                    **({"imagePullPolicy": policy} if policy else {}),
                    "args": arguments,
                    "env": environment,
                    "envFrom": container.env_from,
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "128Mi"},
                        "limits": {"cpu": "1", "memory": "512Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "scratch", "mountPath": "/scratch"},
                        *(mount for mount in mounts if mount["name"] not in _CHART_VOLUMES),
                    ],
                }
            ],
        },
    }
