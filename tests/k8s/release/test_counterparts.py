"""Workers without a chief, and a chief without workers, are reported with the remedy."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes import client

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Job, Pod
from k8s.release.release import Release
from k8s.release.status import State, view_release
from tests.k8s import captured

BY_HELM = {"meta.helm.sh/release-name": "night"}


def ended(job: Job, condition: str, seconds: float = 3600) -> dict[str, Any]:
    since = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    content = job.model_dump(by_alias=True)
    content["status"]["conditions"] = [{"type": condition, "status": "True", "lastTransitionTime": since}]
    return content


def release(changes: dict[str, dict[str, Any]], annotations: dict[str, str]) -> Release:
    """Return the captured release, whose pods have run for days, with some of its Jobs replaced."""
    jobs = []
    for job in captured.release_parts(Job):
        content = changes.get(job.component) or job.model_dump(by_alias=True)
        content["metadata"]["annotations"] = annotations
        jobs.append(Job.model_validate(content))
    cluster = Cluster(client.Configuration(), "kube-demo")
    return Release("night", cluster, jobs, [], captured.release_parts(Pod), [])


def job_of(component: str) -> Job:
    return next(job for job in captured.release_parts(Job) if job.component == component)


@pytest.mark.parametrize(("condition", "is_problem"), [("Complete", True), ("Suspended", False)])
@pytest.mark.parametrize(
    ("annotations", "remedy"), [(BY_HELM, "run helm upgrade, or"), ({}, "apply the manifests again, or")]
)
def test_workers_that_wait_for_a_chief_that_has_ended(
    condition: str, is_problem: bool, annotations: dict[str, str], remedy: str
) -> None:
    """As after a search that gave up, if its workers are replaced."""
    job = job_of("chief")
    view = view_release(release({"chief": ended(job, condition)}, annotations), {}, [])
    troubles = [worker.trouble or "" for worker in view.workers if worker.state is State.RUNNING]
    assert troubles
    sentence = f"waits for a chief, but the chief's Job {job.name} has ended, and no other one starts; "
    assert all(text.startswith(sentence) and remedy in text for text in troubles) is is_problem


SUSPENDED, STARTED = {"suspend": True}, {"suspend": False}
RESUMED = {"suspend": False, "parallelism": 0}


@pytest.mark.parametrize(
    ("seconds", "evaluator", "condition", "is_problem"),
    [
        (3600, SUSPENDED, "Suspended", True),  # as after an upgrade of the chief alone, after a search that gave up
        (3600, STARTED, "Complete", True),  # the same, if a trial had been evaluated
        (3600, STARTED, "Running", False),  # the evaluation runs
        (3600, RESUMED, "Running", True),  # Kueue has resumed it, but the chief has not started it
        (100, SUSPENDED, "Suspended", False),  # the search has just ended
    ],
)
def test_a_chief_that_waits_for_workers_whose_job_has_ended(
    seconds: float, evaluator: dict[str, object], condition: str, is_problem: bool
) -> None:
    worker = job_of("worker")
    evaluation = ended(job_of("evaluator"), condition)
    evaluation["spec"] |= evaluator
    changes = {"worker": ended(worker, "Complete", seconds), "evaluator": evaluation}
    view = view_release(release(changes, BY_HELM), {}, [])
    assert view.components[0].component == "chief"
    assert view.components[0].trouble == (
        f"waits for workers, but the workers' Job {worker.name} has ended; run kubectl delete job {worker.name}, and "
        "run helm upgrade"
        if is_problem
        else None
    )
