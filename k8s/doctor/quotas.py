"""Check that the namespace's quotas and limit ranges leave room for a release."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from kubernetes.utils import parse_quantity

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Resources
from k8s.cluster.resources import Limit, LimitRange, Quota
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import Requirements


def check_quotas(cluster: Cluster, requirements: Requirements, installed: bool) -> Iterator[Finding]:
    """Check that quotas leave room for the release's missing pods, and that limit ranges allow their containers."""
    # if a release is installed, its pods show whether the quota prevents them from running
    severity = warning if installed else broken
    limits = [
        limit
        for limit_range in cluster.list(LimitRange)
        for limit in limit_range.spec.limits
        if limit.type == "Container"
    ]
    quotas = [quota for quota in cluster.list(Quota) if not quota.spec.is_scoped]
    excesses = [
        *_beyond_quotas(quotas, limits, requirements, " more" if installed else ""),
        *_beyond_limits(limits, requirements),
    ]
    yield from (severity("quota", excess.what, excess.fix) for excess in excesses)
    if not excesses:
        yield fine("quota", "quotas leave enough room" if quotas else "the namespace has no quota")


class _Excess(NamedTuple):
    what: str
    fix: str


def _beyond_quotas(
    quotas: Sequence[Quota], limits: Sequence[Limit], requirements: Requirements, more: str
) -> Iterator[_Excess]:
    """Yield the resources that exceed a quota, and those that a quota requires containers to specify."""
    defaulted = {resource for limit in limits for resource in limit.default}
    for quota in quotas:
        for resource, hard in quota.status.hard.items():
            used, requested = quota.status.used.get(resource, "0"), requested_amount(requirements, resource)
            if requested and parse_quantity(used) + requested > parse_quantity(hard):
                yield _Excess(
                    f"the quota {quota.name} allows {hard} {resource}, of which {used} are used, and "
                    f"the release requests {_plain(float(requested), resource)}{more}",
                    "Lower workers.replicas, workers.gpus or resources, or ask an administrator to raise the quota.",
                )
            if missing := components_without(requirements, resource, defaulted):
                components = ", ".join(missing)
                yield _Excess(
                    f"the quota {quota.name} requires {resource} in every container, but {components} does not set it",
                    f"Set {resource} in the resources of {components}, or define a default in a LimitRange.",
                )


def _beyond_limits(limits: Sequence[Limit], requirements: Requirements) -> Iterator[_Excess]:
    """Yield the resources of containers that a limit range does not allow."""
    containers = [
        (pods.component, container.resources) for pods in requirements.pods for container in pods.spec.containers
    ]
    for limit in limits:
        for resource, maximum in limit.max.items():
            for component, resources in containers:
                amount = resources.limits.get(resource) or resources.requests.get(resource)
                if amount and parse_quantity(amount) > parse_quantity(maximum):
                    yield _Excess(
                        f"a LimitRange allows {maximum} of {resource} per container, but {component} requests {amount}",
                        f"Reduce the resources of {component}, or ask an administrator to change the LimitRange.",
                    )


def requested_amount(requirements: Requirements, resource: str) -> Decimal:
    """Return the amount of a quota's resource that the missing pods and claims of the release will use."""
    if resource in ("pods", "count/pods"):
        return Decimal(sum(pods.missing for pods in requirements.pods))
    claim = requirements.own_bucket.claim if requirements.own_bucket else None
    new_claims = [claim] if claim and not claim.status.phase else []
    if resource in ("persistentvolumeclaims", "count/persistentvolumeclaims"):
        return Decimal(len(new_claims))
    if resource == "requests.storage":
        return sum((parse_quantity(c.spec.resources.requests.get("storage", "0")) for c in new_claims), Decimal(0))
    quota_resource = _QuotaResource.parse(resource)
    total = Decimal(0)
    for pods in requirements.pods:
        for container in pods.spec.containers:
            total += parse_quantity(quota_resource.amount_in(container.resources) or "0") * pods.missing
    return total


def components_without(requirements: Requirements, resource: str, defaulted: set[str]) -> list[str]:
    """Return the components that the API server refuses because their containers do not set a quota's resource."""
    quota_resource = _QuotaResource.parse(resource)
    if quota_resource.name not in ("cpu", "memory") or quota_resource.name in defaulted:
        return []
    return [
        pods.component
        for pods in requirements.pods
        for container in pods.spec.containers
        # all containers of the chart have requests; one without requests was made from flags, which contain none
        if container.resources.requests and quota_resource.amount_in(container.resources) is None
    ]


@dataclass(frozen=True)
class _QuotaResource:
    """A resource of a quota, such as `limits.memory` or `requests.cpu`. The latter is also written `cpu`."""

    is_limit: bool
    name: str

    @classmethod
    def parse(cls, resource: str) -> "_QuotaResource":
        return cls(resource.startswith("limits."), resource.removeprefix("limits.").removeprefix("requests."))

    def amount_in(self, resources: Resources) -> str | None:
        """Return the amount that a container sets, or None. A request that is not set equals the limit."""
        limit = resources.limits.get(self.name)
        return limit if self.is_limit else resources.requests.get(self.name, limit)


def _plain(amount: float, resource: str) -> str:
    return f"{amount / 2**30:.1f}Gi" if resource.endswith(("memory", "storage")) else f"{amount:g}"
