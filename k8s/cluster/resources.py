"""What stands around a release's pods, as the API server's JSON has it: nodes, volumes, quotas, rights."""

from typing import Any

from pydantic import Field

from k8s.cluster.objects import ApiModel, Condition, Object, Quantities, Resources


class ClaimSpec(ApiModel):
    """spec of a PersistentVolumeClaim."""

    storage_class_name: str | None = None
    """None: that of the cluster's default StorageClass."""
    resources: Resources = Resources()


class ClaimStatus(ApiModel):
    """status of a PersistentVolumeClaim."""

    phase: str = ""


class Claim(Object):
    """A PersistentVolumeClaim."""

    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class StorageClass(Object):
    """A StorageClass."""

    @property
    def is_default(self) -> bool:
        """Say whether claims that name no class get this one."""
        return self.metadata.annotations.get("storageclass.kubernetes.io/is-default-class") == "true"


class Taint(ApiModel):
    """What keeps pods from a node."""

    key: str
    value: str = ""
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"


class NodeSpec(ApiModel):
    """spec of a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(ApiModel):
    """status of a node."""

    allocatable: Quantities = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


class Node(Object):
    """A node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def is_ready(self) -> bool:
        """Say whether its kubelet reports that it takes pods."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class QuotaSpec(ApiModel):
    """spec of a ResourceQuota."""

    scopes: tuple[str, ...] = ()
    scope_selector: dict[str, Any] | None = None

    @property
    def is_scoped(self) -> bool:
        """Say whether it counts some pods only, such as those of a priority class."""
        return bool(self.scopes or self.scope_selector)


class QuotaStatus(ApiModel):
    """status of a ResourceQuota."""

    hard: Quantities = Field(default_factory=dict)
    used: Quantities = Field(default_factory=dict)


class Quota(Object):
    """A ResourceQuota."""

    spec: QuotaSpec = QuotaSpec()
    status: QuotaStatus = QuotaStatus()


class Limit(ApiModel):
    """One rule of a LimitRange."""

    type: str
    max: Quantities = Field(default_factory=dict)
    default: Quantities = Field(default_factory=dict)


class LimitRangeSpec(ApiModel):
    """spec of a LimitRange."""

    limits: tuple[Limit, ...] = ()


class LimitRange(Object):
    """A LimitRange."""

    spec: LimitRangeSpec = LimitRangeSpec()


class Namespace(Object):
    """A namespace."""


class ReviewStatus(ApiModel):
    """status of a review."""

    allowed: bool = False


class Review(Object):
    """Whether we may do something."""

    status: ReviewStatus = ReviewStatus()
