"""A release of the chart in a cluster. Its objects are found by their labels, and contain its settings."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from k8s.cluster.client import ApiRefusedError, Cluster
from k8s.cluster.objects import ConfigMap, Container, Deployment, Event, Job, Object, Pod, Secret
from k8s.cluster.resources import Namespace
from tuner import names
from tuner.config import settings
from tuner.errors import ConfigError, EnvironmentFailure, UsageError

Kind = TypeVar("Kind", bound=Object)

CHIEF, WORKER, EVALUATOR, DATA, BUCKET, TLS = "chief", "worker", "evaluator", "data", "bucket", "tls"
COMPONENTS = (CHIEF, WORKER, EVALUATOR, DATA, BUCKET, TLS)
STOPPED_BUCKET = "stopped (bucket.emulator.replicas=0); set it to 1 with helm upgrade to read the study"
BUCKET_VOLUME = "bucket"
_STUDY_VOLUME, _TLS_VOLUME = "study", "tls"


@dataclass(frozen=True)
class Release:
    """The objects of a release at one point in time."""

    name: str
    cluster: Cluster
    jobs: Sequence[Job]
    deployments: Sequence[Deployment]
    pods: Sequence[Pod]
    """Oldest first."""
    events: Sequence[Event]
    deleted: datetime | None = None
    """When the deletion of the namespace began; None if it is not being deleted, or may not be read."""

    def job(self, component: str) -> Job | None:
        """Return the newest Job of a component. During an upgrade, the previous Job may still exist."""
        return _newest([job for job in self.jobs if job.component == component])

    def earlier_jobs(self, component: str) -> list[Job]:
        """Return the Jobs of a component with pods, except the newest Job. An upgrade deletes them."""
        newest = self.job(component)
        return [job for job in self.jobs if job.component == component and job is not newest and job.status.active]

    @property
    def bucket_deployment(self) -> Deployment | None:
        """Deployment of the release's own bucket, if it has one."""
        return _newest([deployment for deployment in self.deployments if deployment.component == BUCKET])

    def pods_of(self, component: str) -> list[Pod]:
        """Return the pods of a component, oldest first."""
        return [pod for pod in self.pods if pod.component == component]

    def running(self, component: str) -> Pod:
        """Return the newest running pod of a component. Raises EnvironmentFailure if none is running."""
        pods = [p for p in self.pods_of(component) if p.status.phase == "Running" and not p.metadata.deletion_timestamp]
        bucket = self.bucket_deployment
        if not pods and component == BUCKET and bucket and not bucket.spec.replicas:
            raise EnvironmentFailure(f"the bucket of release {self.name} is {STOPPED_BUCKET}.")
        if not pods:
            raise EnvironmentFailure(
                f"no {component} of release {self.name} is running; run cifake-tune doctor --release {self.name} to "
                "find the reason."
            )
        return pods[-1]

    # ---- settings -----------------------------------------------------------------------------------

    @property
    def bucket_url(self) -> str:
        """URL of the bucket."""
        return self._environment(CHIEF).get(names.ENV_BUCKET, "")

    @property
    def emulator_port(self) -> int | None:
        """Port of the release's own bucket; None if the bucket is outside the cluster."""
        address = self._environment(CHIEF).get(names.ENV_EMULATOR)
        return urlsplit(address).port if address and self.bucket_deployment else None

    @property
    def bucket_variables(self) -> dict[str, str]:
        """Variables that say where the object store of the bucket is, without credentials."""
        environment = self._environment(CHIEF)
        return {name: environment[name] for name in names.ENV_OBJECT_STORE if name in environment}

    @property
    def bucket_claim(self) -> str:
        """Name of the claim of which the bucket is a folder; "" if the bucket is not on a volume of the pods."""
        job = self.job(CHIEF)
        return job.spec.template.spec.claim(BUCKET_VOLUME) if job else ""

    def require_readable_bucket(self) -> None:
        """Raise EnvironmentFailure if only pods can read the bucket, with the command that reads it in one of them."""
        if not self.bucket_claim:
            return
        pods = [pod for pod in self.pods if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp]
        readers = (pod for component in (CHIEF, EVALUATOR, WORKER) for pod in pods if pod.component == component)
        pod = next(readers, None)
        reading = (
            f"kubectl exec -n {self.cluster.namespace} {pod.name} -c {pod.component} -- cifake-tune COMMAND"
            if pod
            else "the command in a pod that mounts it, as docs/kubernetes-buckets.md describes"
        )
        raise EnvironmentFailure(
            f"the bucket of release {self.name} is on the volume of the claim {self.bucket_claim}, which only pods can "
            f"read; run {reading}, or mount the volume on this machine and use --bucket FOLDER instead of --release."
        )

    @property
    def lacks_bucket(self) -> bool:
        """Whether the chief uses the release's own bucket and this does not exist, as after an uninstall."""
        job = self.job(CHIEF)
        own = f"{job.name.rpartition(f'-{CHIEF}-')[0]}-{BUCKET}" if job else ""
        address = self._environment(CHIEF).get(names.ENV_EMULATOR, "")
        return self.bucket_deployment is None and (urlsplit(address).hostname or "").split(".")[0] == own

    @property
    def chief_port(self) -> int:
        """Port of the chief's gRPC server."""
        return int(self._environment(CHIEF)[names.ENV_ORACLE_PORT])

    @property
    def linger_s(self) -> float:
        """Seconds for which the chief runs after the evaluation."""
        return float(self._environment(CHIEF).get(names.ENV_LINGER_S, "0"))

    @property
    def has_evaluated(self) -> bool:
        """Whether the evaluation has ended, so that the chief ends too."""
        job = self.job(EVALUATOR)
        return job is not None and bool(job.condition("Complete") or job.condition("Failed"))

    @property
    def evaluates(self) -> bool:
        """Whether the evaluation has started and has not ended."""
        job = self.job(EVALUATOR)
        return job is not None and job.has_started and not self.has_evaluated

    def running_since(self, component: str) -> datetime | None:
        """Return when the newest running container of a component started; None if none is running."""
        running = [s.state.running for pod in self.pods_of(component) for s in pod.status.container_statuses]
        return max((state.started_at for state in running if state and state.started_at), default=None)

    @property
    def page_port(self) -> int | None:
        """Port at which the chief serves its live page; None if it serves none.

        The chief of an older chart serves its page on the port of the metrics.
        """
        environment = self._environment(CHIEF)
        port = environment.get(names.ENV_LIVE_PAGE, environment.get(names.ENV_HTTP, "")).rpartition(":")[2]
        return int(port) if port.isdecimal() else None

    @property
    def page_is_encrypted(self) -> bool:
        """Whether the chief serves its live page with https."""
        return bool(self._environment(CHIEF).get(names.ENV_LIVE_PAGE_CERT))

    def page_token(self) -> str:
        """Return the token of the live page, from its Secret; "" if it has none. Raises EnvironmentFailure."""
        container = self._container(CHIEF)
        reference = container.secret_key(names.ENV_LIVE_PAGE_TOKEN) if container else None
        if reference is None:
            return ""
        secret, key = reference
        return base64.b64decode(self.cluster.get(Secret, secret).data.get(key, "")).decode(errors="replace").strip()

    @property
    def chief_host(self) -> str:
        """Name of the chief's Service, which the chief's certificate contains."""
        return self._environment(WORKER)[names.ENV_ORACLE_IP]

    @property
    def chief_listens(self) -> bool:
        """Whether the chief's pod is ready, so that its Service must accept connections."""
        return any(pod.is_ready for pod in self.pods_of(CHIEF) if pod.status.phase == "Running")

    @property
    def tls_secret(self) -> str:
        """Name of the Secret with the certificates; "" if the release does not use TLS."""
        job = self.job(CHIEF)
        return job.spec.template.spec.volume_source(_TLS_VOLUME) if job else ""

    def study_name(self) -> str:
        """Return the name of the study. Raises EnvironmentFailure, or ConfigError if study.yaml is not valid."""
        override = self._environment(CHIEF).get(f"{names.ENV_SETTING}NAME")
        if override:
            return override
        return str(self._study_values().get("name") or settings.Study().name)

    def lease_s(self) -> float:
        """Return the duration of a lease. Raises EnvironmentFailure, or ConfigError if study.yaml is not valid."""
        values = (self._study_values().get("leases") or {}).get("duration_s", settings.Leases().duration_s)
        text = self._environment(CHIEF).get(f"{names.ENV_SETTING}LEASES__DURATION_S", values)
        try:
            return float(text)
        except (TypeError, ValueError):
            raise ConfigError(f"leases.duration_s must be a number of seconds, got {text!r}.") from None

    def _study_values(self) -> dict[str, Any]:
        job = self.job(CHIEF)
        name = job.spec.template.spec.volume_source(_STUDY_VOLUME) if job else ""
        try:
            return yaml.safe_load(self.cluster.get(ConfigMap, name).data.get("study.yaml", "")) or {}
        except yaml.YAMLError as error:
            raise ConfigError(
                f"study.yaml in ConfigMap {name} is not valid YAML ({error}); run helm upgrade to replace it."
            ) from None

    def _environment(self, component: str) -> dict[str, str]:
        container = self._container(component)
        return container.environment() if container else {}

    def _container(self, component: str) -> Container | None:
        job = self.job(component)
        return job.spec.template.spec.main(component) if job else None


def load(cluster: Cluster, name: str) -> Release:
    """Read a release. Raises EnvironmentFailure, or UsageError if the namespace has no release of that name."""
    labels = f"{names.LABEL_NAME}={names.APPLICATION},{names.LABEL_RELEASE}={name}"
    with ThreadPoolExecutor(5) as pool:
        deleted = pool.submit(_deletion_of_namespace, cluster)
        jobs = pool.submit(cluster.list, Job, labels)
        deployments = pool.submit(cluster.list, Deployment, labels)
        pods = pool.submit(cluster.list, Pod, labels)
        events = pool.submit(_events, cluster)
        release = Release(
            name,
            cluster,
            jobs.result(),
            deployments.result(),
            _by_age(pods.result()),
            events.result(),
            deleted.result(),
        )
    if not release.job(CHIEF):
        raise UsageError(_no_release(cluster, name))
    return release


def _deletion_of_namespace(cluster: Cluster) -> datetime | None:
    """Return when the deletion of the namespace began; None if it is not being deleted, or may not be read."""
    try:
        return cluster.get(Namespace, cluster.namespace).metadata.deletion_timestamp
    except ApiRefusedError:
        return None


def _events(cluster: Cluster) -> list[Event]:
    try:
        return cluster.list(Event)
    except ApiRefusedError:
        return []  # without events, diagnoses have fewer details


def _no_release(cluster: Cluster, name: str) -> str:
    chiefs = f"{names.LABEL_NAME}={names.APPLICATION},{names.LABEL_COMPONENT}={CHIEF}"
    releases = sorted({job.metadata.labels.get(names.LABEL_RELEASE, "") for job in cluster.list(Job, chiefs)})
    if releases:
        return f"namespace {cluster.namespace} has no release {name!r} of cifake-tune; it has {', '.join(releases)}."
    try:
        namespaces = sorted({job.metadata.namespace for job in cluster.list(Job, chiefs, everywhere=True)})
    except ApiRefusedError:
        namespaces = []
    hint = f"; use --namespace {' or '.join(namespaces)}" if namespaces else "; run helm list -A to see all releases"
    return f"namespace {cluster.namespace} has no release of cifake-tune{hint}."


def _by_age(items: list[Kind]) -> list[Kind]:
    return sorted(items, key=lambda item: (str(item.metadata.creation_timestamp), item.name))


def _newest(items: list[Kind]) -> Kind | None:
    return _by_age(items)[-1] if items else None
