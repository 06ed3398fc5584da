"""Requirements of a release, read from its objects, from the chart with its values, or from flags."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from k8s.cluster.objects import Deployment, Job, PodSpec
from k8s.cluster.resources import Claim
from k8s.doctor.chart import HelmValues, rendered
from k8s.release import release as releases
from k8s.release.release import Release
from tuner import names
from tuner.errors import EnvironmentFailure


@dataclass(frozen=True)
class ComponentPods:
    """The pods of one component."""

    component: str
    count: int
    spec: PodSpec
    labels: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """Number of pods that have not been created yet."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """The pod template from the chart; empty if the pods were not read from the chart."""
    queue: str = ""
    """Name of the Kueue LocalQueue in which the pods wait; "" if they have none."""


@dataclass(frozen=True)
class OwnBucket:
    """The release's own bucket inside the cluster."""

    address: str
    """URL inside the cluster; "" if it is not known yet."""
    claim: Claim | None
    """The claim of the bucket's volume; None if it has no volume, so that its objects are lost with its pod."""


@dataclass(frozen=True)
class Requirements:
    """The pods and the bucket that a release requires."""

    bucket_url: str
    """URL of the bucket; "" if the release has its own bucket."""
    own_bucket: OwnBucket | None = None
    """None if the bucket is outside the cluster."""
    pods: Sequence[ComponentPods] = field(default_factory=tuple)
    bucket_claim: str = ""
    """Name of the claim of which the bucket is a folder; "" if the bucket is not on a volume of the pods."""

    def pods_of(self, component: str) -> ComponentPods | None:
        """Return the pods of a component, if it has any."""
        return next((pods for pods in self.pods if pods.component == component), None)

    @property
    def image(self) -> str:
        """The image of all pods; "" if there are none."""
        containers = (pods.spec.main(pods.component) for pods in self.pods)
        return next((container.image for container in containers if container), "")


def of_release(release: Release) -> Requirements:
    """Return the requirements of an installed release."""
    return of_objects(release.jobs, release.deployments, list(_claims(release)))


def _claims(release: Release) -> Iterator[Claim]:
    claim_names = release.bucket_deployment.spec.template.spec.claims() if release.bucket_deployment else []
    for name in claim_names:
        # if the claim was deleted or is not readable, the pod's problem shows the reason
        with suppress(EnvironmentFailure):
            yield release.cluster.get(Claim, name)


def of_objects(jobs: Sequence[Job], deployments: Sequence[Deployment], claims: Sequence[Claim]) -> Requirements:
    """Return the requirements of a release that consists of these objects."""
    pods = [
        ComponentPods(
            job.component,
            job.spec.parallelism,
            job.spec.template.spec,
            job.spec.template.metadata.labels,
            _missing(job),
            queue=job.queue,
        )
        for job in jobs
    ]
    pods += [
        ComponentPods(
            deployment.component,
            n := deployment.spec.replicas,
            deployment.spec.template.spec,
            {},
            max(0, n - deployment.status.replicas),
        )
        for deployment in deployments
    ]
    chief = next((group.spec for group in pods if group.component == releases.CHIEF), None)
    container = chief.main(releases.CHIEF) if chief else None
    environment = container.environment() if container else {}
    address = environment.get(names.ENV_EMULATOR, "")
    own = OwnBucket(address, next(iter(claims), None)) if address else None
    shared = chief.claim(releases.BUCKET_VOLUME) if chief else ""
    return Requirements(environment.get(names.ENV_BUCKET, ""), own, tuple(pods), shared)


def _missing(job: Job) -> int:
    if job.condition("Complete") or job.condition("Failed"):
        return 0
    return max(0, job.spec.parallelism - job.status.active - job.status.succeeded)


def of_chart(
    chart: Path, values: Sequence[Path], settings: Sequence[str], release: str, namespace: str, context: str | None
) -> Requirements:
    """Return the requirements of `helm install` with these values.

    Args:
        chart: Path of the chart.
        values: Values files, as in helm's `--values`.
        settings: Single values, as in helm's `--set`.
        release: Name of the release.
        namespace: Namespace of the release.
        context: Context of the kubeconfig. Default: the current context.

    Raises:
        UsageError: helm is missing or rejects the values.
    """
    # some objects depend on the cluster, which helm may be unable to reach
    server_side = ["--dry-run=server", *(["--kube-context", context] if context else [])]
    manifests = rendered(HelmValues(chart, values, settings), release, namespace, server_side)
    return _of_manifests(manifests)


def _of_manifests(manifests: Sequence[Any]) -> Requirements:
    def of_kind(kind: str) -> list[Any]:
        return [manifest for manifest in manifests if manifest["kind"] == kind]

    jobs, deployments = of_kind("Job"), of_kind("Deployment")
    requirements = of_objects(
        [Job.model_validate(manifest) for manifest in jobs],
        [Deployment.model_validate(manifest) for manifest in deployments],
        [Claim.model_validate(manifest) for manifest in of_kind("PersistentVolumeClaim")],
    )
    templates = [manifest["spec"]["template"] for manifest in [*jobs, *deployments]]
    return replace(
        requirements,
        pods=tuple(
            replace(pods, manifest=template) for pods, template in zip(requirements.pods, templates, strict=True)
        ),
    )


def of_flags(image: str, workers: int, gpus: int, bucket: str, gpu_resource: str = names.GPU_RESOURCE) -> Requirements:
    """Return the requirements of a release that only these flags describe."""
    limits = {gpu_resource: str(gpus)} if gpus else {}
    environment = [{"name": names.ENV_GPU_RESOURCE, "value": gpu_resource}]
    container = {"name": releases.WORKER, "image": image, "env": environment, "resources": {"limits": limits}}
    # as in charts/templates/_pod.tpl: nodes with parts of NVIDIA's GPUs have the taint of whole ones
    tainted = names.GPU_RESOURCE if gpu_resource.startswith("nvidia.com/") else gpu_resource
    tolerations = [{"key": tainted, "operator": "Exists", "effect": "NoSchedule"}] if gpus else []
    spec = PodSpec.model_validate({"containers": [container], "tolerations": tolerations})
    own = None if bucket else OwnBucket("", Claim())
    return Requirements(bucket, own, (ComponentPods(releases.WORKER, workers, spec, missing=workers),))
