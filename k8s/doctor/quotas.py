"""Do the namespace's quotas and limit ranges leave room for a release?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from kubernetes.utils import parse_quantity

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Resources
from k8s.cluster.resources import Limit, LimitRange, Quota
from k8s.doctor.findings import Finding, broken, fine, warning
from k8s.doctor.requirements import Needs


def check_quotas(cluster: Cluster, needs: Needs, installed: bool) -> Iterator[Finding]:
    """Do quotas leave room for the pods that are still to come, and do limit ranges allow its containers?"""
    say = warning if installed else broken  # what can run at all shows in the pods of a release
    limits = [limit for each in cluster.list(LimitRange) for limit in each.spec.limits if limit.type == "Container"]
    quotas = [quota for quota in cluster.list(Quota) if not quota.spec.is_scoped]
    found = [*_beyond_quotas(quotas, limits, needs, " more" if installed else ""), *_beyond_limits(limits, needs)]
    yield from (say("quota", each.what, each.fix) for each in found)
    if not found:
        yield fine("quota", "quotas leave enough room" if quotas else "no quota in the namespace")


class _Excess(NamedTuple):
    what: str
    fix: str


def _beyond_quotas(quotas: Sequence[Quota], limits: Sequence[Limit], needs: Needs, more: str) -> Iterator[_Excess]:
    """Yield what a quota has no room for, and what it wants to be told."""
    defaulted = {resource for limit in limits for resource in limit.default}
    for quota in quotas:
        for resource, hard in quota.status.hard.items():
            used, asked = quota.status.used.get(resource, "0"), asked_of(needs, resource)
            if asked and parse_quantity(used) + asked > parse_quantity(hard):
                yield _Excess(
                    f"the quota {quota.name} allows {hard} {resource}, {used} are used, and "
                    f"the release asks for {_plain(float(asked), resource)}{more}",
                    "Ask for less (workers.replicas, workers.gpus, resources), or have the quota raised.",
                )
            if missing := unsaid_of(needs, resource, defaulted):
                yield _Excess(
                    f"the quota {quota.name} demands {resource} of every container, unsaid by {', '.join(missing)}",
                    f"Set it in resources of {', '.join(missing)}, or have a LimitRange give a default.",
                )


def _beyond_limits(limits: Sequence[Limit], needs: Needs) -> Iterator[_Excess]:
    """Yield what a container asks for that a limit range does not allow."""
    containers = [(pods.component, container.resources) for pods in needs.pods for container in pods.spec.containers]
    for limit in limits:
        for resource, most in limit.max.items():
            for component, resources in containers:
                asked = resources.limits.get(resource) or resources.requests.get(resource)
                if asked and parse_quantity(asked) > parse_quantity(most):
                    yield _Excess(
                        f"a LimitRange allows a container {most} of {resource}, and {component} asks for {asked}",
                        f"Lower {component}'s resources, or have the LimitRange changed.",
                    )


def asked_of(needs: Needs, resource: str) -> Decimal:
    """Return how much of a quota's resource the release still asks for."""
    if resource in ("pods", "count/pods"):
        return Decimal(sum(pods.missing for pods in needs.pods))
    claim = needs.own_bucket.claim if needs.own_bucket else None
    to_come = [claim] if claim and not claim.status.phase else []
    if resource in ("persistentvolumeclaims", "count/persistentvolumeclaims"):
        return Decimal(len(to_come))
    if resource == "requests.storage":
        return sum((parse_quantity(c.spec.resources.requests.get("storage", "0")) for c in to_come), Decimal(0))
    counted = _Counted.of(resource)
    total = Decimal(0)
    for pods in needs.pods:
        for container in pods.spec.containers:
            total += parse_quantity(counted.said_by(container.resources) or "0") * pods.missing
    return total


def unsaid_of(needs: Needs, resource: str, defaulted: set[str]) -> list[str]:
    """Return the components whose containers do not say a resource that a quota counts: the API server refuses them."""
    counted = _Counted.of(resource)
    if counted.name not in ("cpu", "memory") or counted.name in defaulted:
        return []
    return [
        pods.component
        for pods in needs.pods
        for container in pods.spec.containers
        # one without any requests is known by flags alone: the chart's all have some
        if container.resources.requests and counted.said_by(container.resources) is None
    ]


@dataclass(frozen=True)
class _Counted:
    """What a quota's resource counts: `limits.memory`; `requests.cpu`, also written `cpu`."""

    limits: bool
    name: str

    @classmethod
    def of(cls, resource: str) -> "_Counted":
        return cls(resource.startswith("limits."), resource.removeprefix("limits.").removeprefix("requests."))

    def said_by(self, resources: Resources) -> str | None:
        """Return what a container says; where it says a limit only, that is what it requests."""
        limit = resources.limits.get(self.name)
        return limit if self.limits else resources.requests.get(self.name, limit)


def _plain(amount: float, resource: str) -> str:
    return f"{amount / 2**30:.1f}Gi" if resource.endswith(("memory", "storage")) else f"{amount:g}"
