"""Types of the objects around a release's pods: nodes, volumes, quotas and access reviews."""

from typing import Any

from pydantic import Field

from k8s.cluster.objects import ApiModel, Condition, Object, Quantities, Resources


class ClaimSpec(ApiModel):
    """Specification of a PersistentVolumeClaim."""

    storage_class_name: str | None = None
    """None selects the cluster's default StorageClass."""
    access_modes: tuple[str, ...] = ()
    resources: Resources = Resources()


class ClaimStatus(ApiModel):
    """Status of a PersistentVolumeClaim."""

    phase: str = ""


class Claim(Object):
    """A PersistentVolumeClaim."""

    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class StorageClass(Object):
    """A StorageClass."""

    @property
    def is_default(self) -> bool:
        """Whether claims that name no StorageClass use this one."""
        return self.metadata.annotations.get("storageclass.kubernetes.io/is-default-class") == "true"


class Taint(ApiModel):
    """A taint of a node."""

    key: str
    value: str = ""
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"


class NodeSpec(ApiModel):
    """Specification of a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(ApiModel):
    """Status of a node."""

    allocatable: Quantities = Field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


class Node(Object):
    """A node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> Condition | None:
        """The condition by which the kubelet reports that the node accepts pods."""
        return next((condition for condition in self.status.conditions if condition.type == "Ready"), None)

    @property
    def is_ready(self) -> bool:
        """Whether the kubelet reports that the node accepts pods."""
        return self.ready is not None and self.ready.status == "True"


class QuotaSpec(ApiModel):
    """Specification of a ResourceQuota."""

    scopes: tuple[str, ...] = ()
    scope_selector: dict[str, Any] | None = None

    @property
    def is_scoped(self) -> bool:
        """Whether the quota counts only some pods, such as those of a priority class."""
        return bool(self.scopes or self.scope_selector)


class QuotaStatus(ApiModel):
    """Status of a ResourceQuota."""

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
    """Specification of a LimitRange."""

    limits: tuple[Limit, ...] = ()


class LimitRange(Object):
    """A LimitRange."""

    spec: LimitRangeSpec = LimitRangeSpec()


class Namespace(Object):
    """A namespace."""


class ReviewStatus(ApiModel):
    """Status of an access review."""

    allowed: bool = False


class Review(Object):
    """A SelfSubjectAccessReview, which states whether the caller has a right."""

    status: ReviewStatus = ReviewStatus()
