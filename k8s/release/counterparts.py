"""Workers that run without a chief, and a chief that runs without workers. Both wait in vain."""

from datetime import datetime, timedelta

from k8s.cluster.objects import Job, Pod
from k8s.release import release as releases
from k8s.release.diagnosis import is_installed_by_helm
from k8s.release.release import Release

WITHOUT_CHIEF_S = 60.0
"""Seconds that a worker has run, after which it waits in vain for a chief whose Job is complete. A worker of a search
that has finished ends sooner."""
WITHOUT_WORKERS_S = 180.0
"""Seconds, in addition to those after an evaluation, that a chief has run and its workers' Job has been complete. A
chief whose search has finished has ended by then, or has started the evaluation."""


def has_run(pod: Pod, now: datetime, seconds: float) -> bool:
    """Return whether all containers of a pod have run for so many seconds."""
    since = now - timedelta(seconds=seconds)
    starts = [s.state.running.started_at for s in pod.status.container_statuses if s.state.running]
    return bool(starts) and all(start is not None and start < since for start in starts)


def missing_chief(release: Release, worker: Pod, job: Job, now: datetime) -> str | None:
    """Return the problem of a worker whose chief's Job is complete, as after a search that gave up; None otherwise."""
    chief = release.job(releases.CHIEF)
    if chief is None or not chief.condition("Complete") or not has_run(worker, now, WITHOUT_CHIEF_S):
        return None
    return (
        f"waits for a chief, but the chief's Job {chief.name} has ended, and no other one starts; change what made the "
        f"search end, and {_upgrade(job)}, or run kubectl delete job {job.name} to end the workers"
    )


def missing_workers(release: Release, now: datetime) -> str | None:
    """Return the problem of a chief whose workers' Job is complete although it has no evaluation to wait for.

    After a search that gave up, an upgrade of the chief alone starts such a chief.
    """
    job = release.job(releases.WORKER)
    complete = job.condition("Complete") if job else None
    if job is None or complete is None or complete.last_transition_time is None or release.evaluates:
        return None
    waited_s = WITHOUT_WORKERS_S + release.linger_s
    is_recent = now - complete.last_transition_time < timedelta(seconds=waited_s)
    if is_recent or not any(has_run(pod, now, waited_s) for pod in release.pods_of(releases.CHIEF)):
        return None
    return (
        f"waits for workers, but the workers' Job {job.name} has ended; run kubectl delete job {job.name}, and "
        f"{_upgrade(job)}"
    )


def _upgrade(job: Job) -> str:
    return "run helm upgrade" if is_installed_by_helm(job) else "apply the manifests again"
