"""The workers' Job while a search is paused: without parallelism, it has no pods.

Kueue admits such a Job without quota, and queues it again when its parallelism changes. The number of pods to create
again is kept as an annotation, which tells an upgrade of the chart to leave the Job as it is.
"""

from k8s.cluster.client import ApiRefusedError
from k8s.cluster.objects import Job
from k8s.release.release import WORKER, Release
from tuner import names
from tuner.errors import EnvironmentFailure


def scale_down(release: Release) -> int:
    """Remove the pods of a release's workers, and return their number; 0 if the Job has none.

    Raises EnvironmentFailure if the API server refuses or cannot be reached.
    """
    job = release.job(WORKER)
    count = job.spec.parallelism if job else 0
    if job is None or count == 0:
        return 0
    _patch(release, job, count=0, stored=str(count))
    return count


def scale_up(release: Release) -> int:
    """Create the pods again that `scale_down` has removed, and return their number; 0 if it has removed none.

    Raises EnvironmentFailure if the API server refuses or cannot be reached.
    """
    job = release.job(WORKER)
    stored = job.metadata.annotations.get(names.ANNOTATION_PARALLELISM, "") if job else ""
    if job is None or not stored.isdecimal():
        return 0
    _patch(release, job, count=int(stored), stored=None)
    return int(stored)


def _patch(release: Release, job: Job, count: int, stored: str | None) -> None:
    annotations = {names.ANNOTATION_PARALLELISM: stored}
    try:
        release.cluster.patch(Job, job.name, {"metadata": {"annotations": annotations}, "spec": {"parallelism": count}})
    except ApiRefusedError as error:
        if error.is_missing_permission:
            raise
        raise EnvironmentFailure(
            f"the workers' Job {job.name} cannot have {count} pods ({error.reason}). Set workers.replicas with helm "
            "upgrade instead."
        ) from None
