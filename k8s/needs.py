"""What a release asks of a cluster: read from a release's objects, from the chart with its values, or from flags."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import yaml

from k8s import release as releases
from k8s.objects import Deployment, Job, PodSpec
from k8s.release import Release
from tuner import names
from tuner.errors import UsageError

HELM_TIMEOUT_S = 60


@dataclass(frozen=True)
class Pods:
    """Pods of one component."""

    component: str
    count: int
    spec: PodSpec
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Needs:
    """What a release asks for."""

    bucket_url: str
    """"" where the release makes its own bucket."""
    emulator: str = ""
    """Address of the release's own bucket, inside the cluster."""
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
    return of_objects(release.jobs, release.deployments)


def of_objects(jobs: Sequence[Job], deployments: Sequence[Deployment]) -> Needs:
    """Return what a release of these objects asks for."""
    pods = [
        Pods(job.component, job.spec.parallelism, job.spec.template.spec, job.spec.template.metadata.labels)
        for job in jobs
    ]
    pods += [Pods(each.component, each.spec.replicas, each.spec.template.spec) for each in deployments]
    chief = next((each.spec for each in pods if each.component == releases.CHIEF), None)
    environment = chief.containers[0].environment() if chief and chief.containers else {}
    return Needs(environment.get(names.ENV_BUCKET, ""), environment.get(names.ENV_EMULATOR, ""), tuple(pods))


def of_chart(chart: Path, values: Sequence[Path], settings: Sequence[str], release: str, namespace: str) -> Needs:
    """Return what `helm install` with these values would ask for. Raises UsageError, with helm's word."""
    if not which("helm"):
        raise UsageError(
            "helm is not on PATH, and --values needs it; install helm, or say --image, --workers, --gpus and --bucket."
        )
    command = ["helm", "template", release, str(chart), "--namespace", namespace]
    command += [part for file in values for part in ("--values", str(file))]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HELM_TIMEOUT_S, check=False)
    if done.returncode:
        raise UsageError(f"helm does not take these values: {done.stderr.strip().removeprefix('Error: ')}")
    found: list[Any] = [each for each in yaml.safe_load_all(done.stdout) if each]
    return of_objects(
        [Job.model_validate(each) for each in found if each["kind"] == "Job"],
        [Deployment.model_validate(each) for each in found if each["kind"] == "Deployment"],
    )


def of_flags(image: str, workers: int, gpus: int, bucket: str) -> Needs:
    """Return what a release asks for of which only this is known."""
    limits = {names.GPU_RESOURCE: str(gpus)} if gpus else {}
    container = {"name": releases.WORKER, "image": image, "resources": {"limits": limits}}
    tolerations = [{"key": names.GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}] if gpus else []
    spec = PodSpec.model_validate({"containers": [container], "tolerations": tolerations})
    return Needs(bucket, "", (Pods(releases.WORKER, workers, spec),))
