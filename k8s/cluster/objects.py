"""What of Kubernetes' objects is read here, as the API server's JSON has it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from tuner import names


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


def _as_text(value: Any) -> Any:
    """Quantities are text in the API's answers, and may be numbers in a manifest."""
    return {key: str(amount) for key, amount in (value or {}).items()}


Labels = Annotated[dict[str, str], BeforeValidator(_none_is_empty)]
Quantities = Annotated[dict[str, str], BeforeValidator(_as_text)]


class ApiModel(BaseModel):
    """Base of all objects and their parts. What is not named here is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Owner(ApiModel):
    """Who made an object."""

    kind: str
    name: str


class Meta(ApiModel):
    """metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: Labels = {}
    annotations: Labels = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: list[Owner] = []


class Object(ApiModel):
    """Base of whole objects."""

    kind: str = ""
    metadata: Meta = Meta()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def component(self) -> str:
        """Which part of a release it is: chief, worker, evaluator, data, bucket …"""
        return self.metadata.labels.get(names.LABEL_COMPONENT, "")


Kind = TypeVar("Kind", bound=Object)


class ObjectList(ApiModel, Generic[Kind]):
    """Many objects of one type."""

    items: list[Kind]


class Condition(ApiModel):
    """One of an object's conditions."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


# ---- pods -----------------------------------------------------------------------------------------
class Waiting(ApiModel):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Terminated(ApiModel):
    """How a container ended."""

    exit_code: int
    signal: int = 0
    reason: str = ""
    message: str = ""


class ContainerState(ApiModel):
    """One of the three is there."""

    waiting: Waiting | None = None
    running: dict[str, Any] | None = None
    terminated: Terminated | None = None


class ContainerStatus(ApiModel):
    """How a container does."""

    name: str
    image: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class Resources(ApiModel):
    """What a container asks for, and may take."""

    requests: Quantities = {}
    limits: Quantities = {}


class Variable(ApiModel):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: dict[str, Any] | None = None


class Container(ApiModel):
    """A container of a pod."""

    name: str
    image: str = ""
    image_pull_policy: str = ""
    env: list[Variable] = []
    volume_mounts: list[dict[str, Any]] = []
    resources: Resources = Resources()

    def environment(self) -> dict[str, str]:
        """Return its variables whose values are written down."""
        return {variable.name: variable.value for variable in self.env if variable.value is not None}


class NamedReference(ApiModel):
    """The name of an object, or a volume's source, whose other fields are kept too."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    secret_name: str = ""
    claim_name: str = ""


class Volume(ApiModel):
    """A volume of a pod, with all that it has: another pod may be given the same."""

    model_config = ConfigDict(extra="allow")

    name: str
    config_map: NamedReference | None = None
    secret: NamedReference | None = None
    persistent_volume_claim: NamedReference | None = None


class Toleration(ApiModel):
    """A taint that a pod tolerates."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class PodSpec(ApiModel):
    """spec of a pod."""

    node_name: str = ""
    service_account_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    tolerations: list[Toleration] = []
    node_selector: Labels = {}
    affinity: dict[str, Any] = {}
    security_context: dict[str, Any] = {}
    image_pull_secrets: list[NamedReference] = []

    def asks_for(self, resource: str) -> str:
        """Return how much of an extended resource its first container asks for."""
        return self.containers[0].resources.limits.get(resource, "0") if self.containers else "0"

    def volume_source(self, volume: str) -> str:
        """Return the name of the ConfigMap or Secret of a volume; "" where there is none."""
        for each in self.volumes:
            if each.name == volume:
                return each.config_map.name if each.config_map else each.secret.secret_name if each.secret else ""
        return ""

    def claims(self) -> list[str]:
        """Return the names of its PersistentVolumeClaims."""
        return [v.persistent_volume_claim.claim_name for v in self.volumes if v.persistent_volume_claim]


class PodStatus(ApiModel):
    """status of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


class Pod(Object):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def index(self) -> int | None:
        """Its index in an Indexed Job."""
        text = self.metadata.labels.get(names.LABEL_JOB_INDEX, "")
        return int(text) if text.isdecimal() else None

    def condition(self, kind: str) -> Condition | None:
        """Return a condition."""
        return next((c for c in self.status.conditions if c.type == kind), None)

    def containers(self) -> Iterator[ContainerStatus]:
        """Yield the states of its containers, in the order in which they begin."""
        yield from self.status.init_container_statuses
        yield from self.status.container_statuses


# ---- what makes pods ------------------------------------------------------------------------------
class Template(ApiModel):
    """A pod's template."""

    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()


class JobSpec(ApiModel):
    """spec of a Job."""

    suspend: bool = False
    completions: int | None = 1
    parallelism: int = 1
    template: Template = Template()


class JobStatus(ApiModel):
    """status of a Job."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: list[Condition] = []


class Job(Object):
    """A Job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    def condition(self, kind: str) -> Condition | None:
        """Return a condition that is true."""
        return next((c for c in self.status.conditions if c.type == kind and c.status == "True"), None)


class DeploymentSpec(ApiModel):
    """spec of a Deployment."""

    replicas: int = 1
    template: Template = Template()


class DeploymentStatus(ApiModel):
    """status of a Deployment."""

    replicas: int = 0
    ready_replicas: int = 0
    conditions: list[Condition] = []


class Deployment(Object):
    """A Deployment."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


# ---- what stands beside them ----------------------------------------------------------------------
class Involved(ApiModel):
    """What an event is about."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Event(Object):
    """Something that happened to an object."""

    involved_object: Involved = Involved()
    type: str = ""
    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None


class ConfigMap(Object):
    """A ConfigMap."""

    data: Labels = {}


class Secret(Object):
    """A Secret, its values in base64."""

    data: Labels = {}
