"""The GPUs that a pod requests: how many, and by which resource of Kubernetes."""

from dataclasses import dataclass

from kubernetes.utils import parse_quantity

from k8s.cluster.objects import PodSpec
from tuner import names

CLAIMS = "resourceClaims"
"""Stands for the resource if a pod requests its devices by resource claims."""


@dataclass(frozen=True)
class GpuRequest:
    """The GPUs that a pod requests."""

    count: int
    """Number of GPUs, or of resource claims."""
    resource: str
    """Name of the extended resource, such as nvidia.com/gpu or nvidia.com/mig-1g.10gb; CLAIMS if GPUs are claimed."""

    @property
    def is_nvidia(self) -> bool:
        """Whether an extended resource of NVIDIA is requested, whose GPUs need CUDA's libraries."""
        return bool(self.count) and self.resource.startswith("nvidia.com/")

    def __str__(self) -> str:
        if self.resource == CLAIMS:
            return f"{self.count} resource claim{'' if self.count == 1 else 's'}"
        return f"{self.count} {self.resource}"


def requested_gpus(spec: PodSpec) -> GpuRequest:
    """Return the GPUs that a pod requests. An injected container requests none."""
    resource = gpu_resource(spec)
    count = int(parse_quantity(spec.requested(resource)))
    if not count and spec.resource_claims:
        return GpuRequest(len(spec.resource_claims), CLAIMS)
    return GpuRequest(count, resource)


def gpu_resource(spec: PodSpec) -> str:
    """Return the name of the extended resource by which the chart's pods request GPUs (workers.gpuResource)."""
    environments = (container.environment() for container in spec.containers)
    return next((e[names.ENV_GPU_RESOURCE] for e in environments if names.ENV_GPU_RESOURCE in e), names.GPU_RESOURCE)
