"""Types of Kubernetes objects. They have only those fields of the API server's JSON that this project reads."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from tuner import names


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


def _as_text(value: Any) -> Any:
    """Convert quantities to strings. The API returns strings, but a manifest may contain numbers."""
    return {key: str(amount) for key, amount in (value or {}).items()}


Labels = Annotated[dict[str, str], BeforeValidator(_none_is_empty)]
Quantities = Annotated[dict[str, str], BeforeValidator(_as_text)]


class ApiModel(BaseModel):
    """Base of all objects and their parts. Fields that are not declared are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Owner(ApiModel):
    """Reference to the object that owns this one, such as the Job of a pod."""

    kind: str
    name: str
    uid: str = ""


class Meta(ApiModel):
    """Metadata of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: Labels = {}
    annotations: Labels = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: list[Owner] = []
    resource_version: str = ""
    managed_fields: list[dict[str, Any]] = []
    """Which client has set which fields."""


class Object(ApiModel):
    """Base of complete Kubernetes objects, as opposed to their parts."""

    kind: str = ""
    metadata: Meta = Meta()

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.metadata.name

    @property
    def component(self) -> str:
        """Component of the release to which the object belongs, such as chief or worker; "" if none."""
        return self.metadata.labels.get(names.LABEL_COMPONENT, "")


Kind = TypeVar("Kind", bound=Object)


class ObjectList(ApiModel, Generic[Kind]):
    """A list of objects of one type."""

    items: list[Kind]


class Condition(ApiModel):
    """A condition of an object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


# ---- pods -----------------------------------------------------------------------------------------
class Waiting(ApiModel):
    """State of a container that does not run yet."""

    reason: str = ""
    message: str = ""


class Running(ApiModel):
    """State of a container that runs."""

    started_at: datetime | None = None


class Terminated(ApiModel):
    """State of a container that has ended."""

    exit_code: int
    signal: int = 0
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


class ContainerState(ApiModel):
    """State of a container. At most one of the three fields is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(ApiModel):
    """Status of a container."""

    name: str
    image: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class Resources(ApiModel):
    """Resource requests and limits of a container."""

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
    env_from: list[dict[str, Any]] = []
    """ConfigMaps and Secrets whose keys become environment variables."""
    volume_mounts: list[dict[str, Any]] = []
    resources: Resources = Resources()

    def environment(self) -> dict[str, str]:
        """Return the variables whose values are given literally."""
        return {variable.name: variable.value for variable in self.env if variable.value is not None}

    def secret_key(self, variable: str) -> tuple[str, str] | None:
        """Return the name of the Secret and its key whose value a variable has; None if it has no such value."""
        sources = [candidate.value_from or {} for candidate in self.env if candidate.name == variable]
        reference = sources[-1].get("secretKeyRef") if sources else None
        return (reference.get("name", ""), reference.get("key", "")) if reference else None


class NamedReference(ApiModel):
    """Reference to an object by name, or the source of a volume. Fields that are not declared are kept."""

    model_config = ConfigDict(extra="allow")

    name: str = ""
    secret_name: str = ""
    claim_name: str = ""


class Volume(ApiModel):
    """A volume of a pod. All of its fields are kept, so that another pod can use the same volume."""

    model_config = ConfigDict(extra="allow")

    name: str
    config_map: NamedReference | None = None
    secret: NamedReference | None = None
    persistent_volume_claim: NamedReference | None = None


class Toleration(ApiModel):
    """A toleration of a pod."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class PodSpec(ApiModel):
    """Specification of a pod."""

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
    resource_claims: list[NamedReference] = []

    def main(self, component: str) -> Container | None:
        """Return the container of a component, which has its name, or else the first one; None if there is none."""
        named = (container for container in self.containers if container.name == component)
        return next(named, next(iter(self.containers), None))

    def requested(self, resource: str) -> str:
        """Return the amount of an extended resource that the pod requests. An injected container requests none."""
        amounts = (container.resources.limits.get(resource) for container in self.containers)
        return next((amount for amount in amounts if amount), "0")

    def volume_source(self, volume: str) -> str:
        """Return the name of the ConfigMap or Secret of a volume, or "" if it has none."""
        for candidate in self.volumes:
            if candidate.name == volume:
                if candidate.config_map:
                    return candidate.config_map.name
                return candidate.secret.secret_name if candidate.secret else ""
        return ""

    def claim(self, volume: str) -> str:
        """Return the name of the PersistentVolumeClaim of a volume, or "" if it has none."""
        sources = (v.persistent_volume_claim for v in self.volumes if v.name == volume)
        return next((source.claim_name for source in sources if source), "")

    def claims(self) -> list[str]:
        """Return the names of the pod's PersistentVolumeClaims."""
        return [v.persistent_volume_claim.claim_name for v in self.volumes if v.persistent_volume_claim]


class PodStatus(ApiModel):
    """Status of a pod."""

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
        """Index of the pod in an Indexed Job."""
        text = self.metadata.labels.get(names.LABEL_JOB_INDEX, "")
        return int(text) if text.isdecimal() else None

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type; None if the pod has none."""
        return next((c for c in self.status.conditions if c.type == kind), None)

    @property
    def is_ready(self) -> bool:
        """Whether the pod is ready according to its conditions."""
        ready = self.condition("Ready")
        return ready is not None and ready.status == "True"

    def containers(self) -> Iterator[ContainerStatus]:
        """Yield the statuses of all containers in the order in which they start."""
        yield from self.status.init_container_statuses
        yield from self.status.container_statuses


# ---- controllers of pods --------------------------------------------------------------------------
class Template(ApiModel):
    """Template of a pod."""

    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()


class JobSpec(ApiModel):
    """Specification of a Job."""

    suspend: bool = False
    completions: int | None = 1
    parallelism: int = 1
    template: Template = Template()


class JobStatus(ApiModel):
    """Status of a Job."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: list[Condition] = []


class Job(Object):
    """A Job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def queue(self) -> str:
        """Name of the Kueue LocalQueue that decides when the Job runs; "" if it has none."""
        return self.metadata.labels.get(names.LABEL_QUEUE, "")

    @property
    def has_started(self) -> bool:
        """Whether the Job may create pods, or waits in a queue for that. A Job without parallelism has not started."""
        return self.spec.parallelism > 0 and (not self.spec.suspend or bool(self.queue))

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type if it is true."""
        return next((c for c in self.status.conditions if c.type == kind and c.status == "True"), None)


class DeploymentSpec(ApiModel):
    """Specification of a Deployment."""

    replicas: int = 1
    template: Template = Template()


class DeploymentStatus(ApiModel):
    """Status of a Deployment."""

    replicas: int = 0
    ready_replicas: int = 0
    conditions: list[Condition] = []


class Deployment(Object):
    """A Deployment."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


# ---- other objects --------------------------------------------------------------------------------
class Involved(ApiModel):
    """The object that an event refers to."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Event(Object):
    """An event of an object."""

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
    """A Secret with its values in base64."""

    data: Labels = {}
