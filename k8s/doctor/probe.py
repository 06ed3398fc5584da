"""A pod that lives for a few seconds, as restricted as the workers', which looks at the cluster from inside."""

import re
import time
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

from pydantic import ValidationError

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.objects import Event, Pod, PodSpec
from k8s.doctor.findings import FINDINGS, Finding, Severity, broken, fine, warning
from k8s.doctor.requirements import Needs
from k8s.release import release as releases
from k8s.release.diagnosis import creation_problem, pod_problem
from k8s.release.release import Release
from tuner import names

POLL_S = 0.5
UNSCHEDULED_S = 10.0
"""A pod that no node takes for so long will not be taken soon."""
PULL_S = 600.0
"""An image of 2 GB comes in within that, or the cluster has another trouble."""
COMPONENT = "doctor"
_SECURITY_CONTEXT = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The chart's default, where no chart says another."""
_OF_THE_JOB = re.compile(r"app\.kubernetes\.io/|batch\.kubernetes\.io/|controller-uid$|job-name$")
"""Labels by which a worker's pod is found; the others are podLabels and commonLabels."""
_OF_THE_CHART = {"scratch", "study", "space", "tls", "cache", "shared-memory"}
"""Volumes that make a pod a worker; the others are extraVolumes, such as a key file."""
_OF_THE_PROGRAM = re.compile(rf"CIFAKE_TUNE_|KERASTUNER_|WORKER_INDEX$|{names.ENV_EMULATOR}$")
"""What makes a pod a worker; the other variables are extraEnv."""


def probe(cluster: Cluster, needs: Needs, release: Release | None) -> Iterator[Finding]:
    """Run the image once and yield what it finds; the pod is deleted in any case. Raises EnvironmentFailure."""
    name = f"cifake-tune-doctor-{token_hex(4)}"
    try:
        cluster.create(Pod, _manifest(name, needs, release))
    except ApiRefusedError as error:
        if error.is_missing_permission:
            yield warning(
                "probe", f"you may not create pods in namespace {cluster.namespace}, so nothing was run there"
            )
            return
        yield broken("probe", f"no pod can be made in namespace {cluster.namespace}: {creation_problem(error.reason)}")
        return
    try:
        for finding in _watch(cluster, name, needs):
            yield finding if release else _before_install(finding)
    finally:
        cluster.delete(Pod, name)


def _before_install(finding: Finding) -> Finding:
    """A bucket that the namespace's own service account may not use may be open to the release's, still to come."""
    if finding.check != "bucket" or finding.severity is not Severity.BROKEN:
        return finding
    what = f"{finding.what} (tried as the namespace's default service account: the release's own is still to come)"
    return warning(finding.check, what, finding.fix)


def _watch(cluster: Cluster, name: str, needs: Needs) -> Iterator[Finding]:
    began = time.monotonic()
    started_s: float | None = None
    while True:
        pod = cluster.get(Pod, name)
        waited_s = time.monotonic() - began
        if started_s is None and pod.status.phase in ("Running", "Succeeded", "Failed"):
            started_s = waited_s
        if pod.status.phase in ("Succeeded", "Failed"):
            break
        trouble = _trouble(cluster, pod)
        scheduled = bool(pod.spec.node_name)
        if (trouble and (scheduled or waited_s > UNSCHEDULED_S)) or waited_s > PULL_S:
            what = trouble or f"has not ended within {PULL_S:g} s"
            yield broken("image" if scheduled else "probe", what if "image" in what else f"a pod of the image {what}")
            return
        time.sleep(POLL_S)
    written = cluster.log(name)
    try:
        found = FINDINGS.validate_json(written[written.index("[") :])
    except (ValueError, ValidationError):
        said = pod_problem(pod, [], written.strip().rpartition("\n")[2]) or f"wrote {written[-200:]!r}"
        yield broken(
            "image", f"the image {needs.image} does not run `cifake-tune doctor`: it {said}", "Use a newer one."
        )
        return
    yield fine("image", f"{needs.image} was there and started after {started_s or 0:.0f} s, on {pod.spec.node_name}")
    yield from found


def _trouble(cluster: Cluster, pod: Pod) -> str | None:
    try:
        events = cluster.list(Event)
    except ApiRefusedError:
        events = []
    return pod_problem(pod, events)


def _manifest(name: str, needs: Needs, release: Release | None) -> dict[str, Any]:
    like = needs.of(releases.WORKER)
    spec = like.spec if like else PodSpec()
    policy = spec.containers[0].image_pull_policy if spec.containers else ""
    mounts = spec.containers[0].volume_mounts if spec.containers else []
    arguments = ["doctor", "--inside", "--json"]
    # without a release, its own bucket and the Service are still to come
    if needs.bucket_url and (release or not needs.own_bucket):
        arguments += ["--bucket", needs.bucket_url]
    if release:
        arguments += ["--service", release.chief_host]
        if release.chief_listens:
            arguments += ["--chief", f"{release.chief_host}:{release.chief_port}"]
    labels = {key: value for key, value in (like.labels if like else {}).items() if not _OF_THE_JOB.match(key)}
    labels |= {names.LABEL_NAME: names.APPLICATION, names.LABEL_COMPONENT: COMPONENT}
    address = needs.own_bucket.address if needs.own_bucket else ""
    environment: list[dict[str, Any]] = [{"name": names.ENV_EMULATOR, "value": address}] if address else []
    environment += [
        variable.model_dump(by_alias=True, exclude_none=True)
        for variable in (spec.containers[0].env if spec.containers else ())
        if not _OF_THE_PROGRAM.match(variable.name)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        # the release's labels put it under its NetworkPolicies
        "metadata": {"name": name, "labels": labels | ({names.LABEL_RELEASE: release.name} if release else {})},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(PULL_S) + 60,  # should nobody be left to delete it
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            **({"serviceAccountName": spec.service_account_name} if release and spec.service_account_name else {}),
            "nodeSelector": dict(spec.node_selector),
            "tolerations": [t.model_dump(by_alias=True, exclude_defaults=True) for t in spec.tolerations],
            "imagePullSecrets": [{"name": each.name} for each in spec.image_pull_secrets],
            "affinity": spec.affinity,
            "securityContext": spec.security_context or _SECURITY_CONTEXT,
            "volumes": [
                {"name": "scratch", "emptyDir": {}},
                *(v.model_dump(by_alias=True, exclude_unset=True) for v in spec.volumes if v.name not in _OF_THE_CHART),
            ],
            "containers": [
                {
                    "name": COMPONENT,
                    "image": needs.image,
                    **({"imagePullPolicy": policy} if policy else {}),
                    "args": arguments,
                    "env": environment,
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
                        *(mount for mount in mounts if mount["name"] not in _OF_THE_CHART),
                    ],
                }
            ],
        },
    }
