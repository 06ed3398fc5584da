"""The workers' Job while a search is paused: without parallelism, it has no pods.

Kueue admits such a Job without quota, and queues it again when its parallelism changes. The number of pods to create
again is kept as an annotation, which tells an upgrade of the chart to leave the Job as it is.

The API server notes who has set a field, and would refuse a later upgrade that sets the number of workers (Helm 4 uses
server-side apply). Therefore the note about these changes is removed when the pods are brought back.
"""

from http import HTTPStatus
from typing import Any

from k8s.cluster.client import ApiRefusedError
from k8s.cluster.objects import Job
from k8s.release.release import WORKER, Release
from tuner import names
from tuner.errors import EnvironmentFailure

MANAGER = "cifake-tune-pause"
"""Name of the manager of the changed fields."""
TRIES = 10
"""Maximum number of tries to remove the note. Kubernetes changes the Job's status while it creates the pods."""


def scale_down(release: Release) -> int:
    """Remove the pods of a release's workers, and return their number; 0 if the Job has none.

    Raises EnvironmentFailure if the API server refuses or cannot be reached.
    """
    job = release.job(WORKER)
    if job is None or job.spec.parallelism == 0:
        return 0
    _set_parallelism(release, job, 0, str(job.spec.parallelism))
    return job.spec.parallelism


def scale_up(release: Release) -> int:
    """Create the pods again that `scale_down` has removed, and return their number; 0 if it has removed none.

    Raises EnvironmentFailure if the API server refuses or cannot be reached.
    """
    job = release.job(WORKER)
    stored = job.metadata.annotations.get(names.ANNOTATION_PARALLELISM, "") if job else ""
    if job is None or not stored.isdecimal():
        return 0
    changed = _set_parallelism(release, job, int(stored), None)
    for _ in range(TRIES):
        others = [entry for entry in changed.metadata.managed_fields if entry.get("manager") != MANAGER]
        metadata = {"managedFields": others, "resourceVersion": changed.metadata.resource_version}
        try:
            release.cluster.patch(Job, job.name, {"metadata": metadata}, MANAGER)
            break
        except ApiRefusedError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            changed = release.cluster.get(Job, job.name)  # Kubernetes has changed the Job's status meanwhile
    return int(stored)


def _set_parallelism(release: Release, job: Job, count: int, stored: str | None) -> Job:
    body: dict[str, Any] = {
        "metadata": {"annotations": {names.ANNOTATION_PARALLELISM: stored}},
        "spec": {"parallelism": count},
    }
    try:
        return release.cluster.patch(Job, job.name, body, MANAGER)
    except ApiRefusedError as error:
        if error.is_missing_permission:
            raise
        raise EnvironmentFailure(
            f"the workers' Job {job.name} cannot have {count} pods ({error.reason}). Set workers.replicas with helm "
            "upgrade instead."
        ) from None
