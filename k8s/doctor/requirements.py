"""What a release asks of a cluster: read from a release's objects, from the chart with its values, or from flags."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import which
from typing import Any

import yaml

from k8s.cluster.objects import Deployment, Job, PodSpec
from k8s.cluster.resources import Claim
from k8s.release import release as releases
from k8s.release.release import Release
from tuner import names
from tuner.errors import EnvironmentFailure, UsageError

HELM_TIMEOUT_S = 60


@dataclass(frozen=True)
class Pods:
    """Pods of one component."""

    component: str
    count: int
    spec: PodSpec
    labels: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """How many of them are still to be made."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The template as the chart has it, where it was read from the chart."""


@dataclass(frozen=True)
class OwnBucket:
    """The bucket that a release makes inside the cluster."""

    address: str
    """Inside the cluster; "" where it is not known yet."""
    claim: Claim | None
    """Of its volume; None where its objects live and die with its pod."""


@dataclass(frozen=True)
class Needs:
    """What a release asks for."""

    bucket_url: str
    """"" where the release makes its own bucket."""
    own_bucket: OwnBucket | None = None
    """None where the bucket is outside the cluster."""
    pods: Sequence[Pods] = field(default_factory=tuple)

    def of(self, component: str) -> Pods | None:
        """Return the pods of a component."""
        return next((each for each in self.pods if each.component == component), None)

    @property
    def image(self) -> str:
        """The image of all of them."""
        return next((c.image for each in self.pods for c in each.spec.containers), "")


def of_release(release: Release) -> Needs:
    """Return what a release that is installed asks for."""
    return of_objects(release.jobs, release.deployments, list(_claims(release)))


def _claims(release: Release) -> Iterator[Claim]:
    claimed = release.bucket_deployment.spec.template.spec.claims() if release.bucket_deployment else []
    for name in claimed:
        with suppress(EnvironmentFailure):  # it is gone, or we may not look; its pod's trouble says more
            yield release.cluster.get(Claim, name)


def of_objects(jobs: Sequence[Job], deployments: Sequence[Deployment], claims: Sequence[Claim]) -> Needs:
    """Return what a release of these objects asks for."""
    pods = [
        Pods(
            job.component,
            job.spec.parallelism,
            job.spec.template.spec,
            job.spec.template.metadata.labels,
            _missing(job),
        )
        for job in jobs
    ]
    pods += [
        Pods(each.component, n := each.spec.replicas, each.spec.template.spec, {}, max(0, n - each.status.replicas))
        for each in deployments
    ]
    chief = next((each.spec for each in pods if each.component == releases.CHIEF), None)
    environment = chief.containers[0].environment() if chief and chief.containers else {}
    address = environment.get(names.ENV_EMULATOR, "")
    own = OwnBucket(address, next(iter(claims), None)) if address else None
    return Needs(environment.get(names.ENV_BUCKET, ""), own, tuple(pods))


def _missing(job: Job) -> int:
    if job.condition("Complete") or job.condition("Failed"):
        return 0
    return max(0, job.spec.parallelism - job.status.active - job.status.succeeded)


def of_chart(
    chart: Path, values: Sequence[Path], settings: Sequence[str], release: str, namespace: str, context: str | None
) -> Needs:
    """Return what `helm install` with these values would ask for. Raises UsageError, with helm's word."""
    if not which("helm"):
        raise UsageError(
            "helm is not on PATH, and --values needs it; install helm, or say --image, --workers, --gpus and --bucket."
        )
    command = ["helm", "template", release, str(chart), "--namespace", namespace]
    command += [part for file in values for part in ("--values", str(file))]
    command += [part for setting in settings for part in ("--set", setting)]
    # what volume the release's bucket gets depends on the cluster, which may be out of helm's reach
    there = [*command, "--dry-run=server", *(["--kube-context", context] if context else [])]
    looked_up = subprocess.run(there, capture_output=True, text=True, timeout=HELM_TIMEOUT_S, check=False)
    done = looked_up
    if looked_up.returncode:
        done = subprocess.run(command, capture_output=True, text=True, timeout=HELM_TIMEOUT_S, check=False)
    if done.returncode:
        raise UsageError(f"helm does not take these values: {done.stderr.strip().removeprefix('Error: ')}")
    manifests: list[Any] = [each for each in yaml.safe_load_all(done.stdout) if each]
    needs = _of_manifests(manifests)
    if looked_up.returncode and needs.own_bucket and needs.own_bucket.claim is None:
        return replace(needs, own_bucket=replace(needs.own_bucket, claim=Claim()))
    return needs


def _of_manifests(manifests: Sequence[Any]) -> Needs:
    def of_kind(kind: str) -> list[Any]:
        return [each for each in manifests if each["kind"] == kind]

    jobs, deployments = of_kind("Job"), of_kind("Deployment")
    needs = of_objects(
        [Job.model_validate(each) for each in jobs],
        [Deployment.model_validate(each) for each in deployments],
        [Claim.model_validate(each) for each in of_kind("PersistentVolumeClaim")],
    )
    templates = [each["spec"]["template"] for each in [*jobs, *deployments]]
    return replace(
        needs, pods=tuple(replace(pods, manifest=made) for pods, made in zip(needs.pods, templates, strict=True))
    )


def of_flags(image: str, workers: int, gpus: int, bucket: str) -> Needs:
    """Return what a release asks for of which only this is known."""
    limits = {names.GPU_RESOURCE: str(gpus)} if gpus else {}
    container = {"name": releases.WORKER, "image": image, "resources": {"limits": limits}}
    tolerations = [{"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}] if gpus else []
    spec = PodSpec.model_validate({"containers": [container], "tolerations": tolerations})
    own = None if bucket else OwnBucket("", Claim())
    return Needs(bucket, own, (Pods(releases.WORKER, workers, spec, missing=workers),))
