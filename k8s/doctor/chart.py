"""Objects of the chart with given values, rendered by helm, and what they say about a search."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import yaml
from kubernetes.utils import parse_quantity

from k8s.release import release as releases
from tuner import names
from tuner.errors import UsageError

HELM_TIMEOUT_S = 60


@dataclass(frozen=True)
class HelmValues:
    """Values of the chart, as helm takes them."""

    chart: Path
    files: Sequence[Path]
    """Values files, as in helm's `--values`."""
    settings: Sequence[str]
    """Single values, as in helm's `--set`."""


@dataclass(frozen=True)
class PlannedRelease:
    """The search of a release that is not installed yet."""

    study_yaml: str
    workers: int
    memory_bytes: int | None
    """Memory limit of a worker; None if it has none."""


def rendered(values: HelmValues, release: str, namespace: str, options: Sequence[str] = ()) -> list[Any]:
    """Return the objects of `helm install` with these values.

    Args:
        values: The values.
        release: Name of the release.
        namespace: Namespace of the release.
        options: Options with which helm is tried first. Without them, it reads nothing from a cluster.

    Raises:
        UsageError: helm is missing or rejects the values.
    """
    if not which("helm"):
        raise UsageError(
            "--values and --set require helm, which is not on PATH; install it, or use --image, --workers, --gpus and "
            "--bucket."
        )
    command = ["helm", "template", release, str(values.chart), "--namespace", namespace]
    command += [part for file in values.files for part in ("--values", str(file))]
    command += [part for setting in values.settings for part in ("--set", setting)]
    done = _run([*command, *options])
    if done.returncode and options:
        done = _run(command)
    if done.returncode:
        raise UsageError(f"helm rejects these values: {done.stderr.strip().removeprefix('Error: ')}")
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=HELM_TIMEOUT_S, check=False)


def planned_release(values: HelmValues) -> PlannedRelease:
    """Return the search of a release with these values. Raises UsageError, also if the values start no search."""
    return search_of(rendered(values, names.APPLICATION, "default"))


def search_of(manifests: Sequence[Any]) -> PlannedRelease:
    """Return the search of a release that consists of these objects. Raises UsageError if they have none."""
    studies = [m["data"]["study.yaml"] for m in manifests if m["kind"] == "ConfigMap" and "study.yaml" in m["data"]]
    workers = [
        manifest["spec"]
        for manifest in manifests
        if manifest["kind"] == "Job"
        and manifest["metadata"]["labels"].get("app.kubernetes.io/component") == releases.WORKER
    ]
    if not studies or not workers:
        raise UsageError("the chart renders no study or no workers with these values. Check them.")
    container = workers[0]["template"]["spec"]["containers"][0]
    limit = container.get("resources", {}).get("limits", {}).get("memory")
    memory_bytes = int(parse_quantity(str(limit))) if limit else None
    return PlannedRelease(studies[0], int(workers[0]["parallelism"]), memory_bytes)
