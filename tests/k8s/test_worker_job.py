"""The workers' Job loses its pods during a pause and gets as many back, by requests to an API server."""

import json
from typing import Any

import pytest

from k8s.release.release import Release, load
from k8s.release.status import State, view_release
from k8s.worker_job import MANAGER, scale_down, scale_up
from tests.k8s import captured
from tests.support.api_server import ApiServer, cluster_at, running_api_server
from tuner import names
from tuner.errors import EnvironmentFailure

HELM = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:completions": {}}}}
OURS = {"manager": MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {"f:parallelism": {}}}}


def parts(**spec: Any) -> dict[str, Any]:
    """Return a release with three workers; the Job's fields are those that a server with other clients would have."""
    everything: dict[str, Any] = json.loads((captured.FOLDER / "release.json").read_text(encoding="utf-8"))
    job = worker_job(everything)
    job["spec"] |= spec
    job["metadata"] |= {"managedFields": [HELM, OURS], "resourceVersion": "7"}
    return everything


def worker_job(everything: dict[str, Any]) -> dict[str, Any]:
    (job,) = (job for job in everything["jobs"] if "-worker-" in job["metadata"]["name"])
    worker: dict[str, Any] = job
    return worker


def release(api: ApiServer) -> Release:
    return load(cluster_at(api.url, "kube-demo"), "night")


def test_the_pods_of_all_workers_are_removed_and_as_many_are_created_again() -> None:
    with running_api_server(everything := parts()) as api:
        job = worker_job(everything)
        assert scale_down(release(api)) == 3
        assert (job["spec"]["parallelism"], job["spec"]["completions"]) == (0, 3)
        assert scale_up(release(api)) == 3
        assert (job["spec"]["parallelism"], job["spec"]["completions"]) == (3, 3)
        assert names.ANNOTATION_PARALLELISM not in job["metadata"]["annotations"]
    assert {name for name, _ in api.patches} == {job["metadata"]["name"]}, "no other Job is changed"


def test_to_repeat_either_changes_nothing_and_forgets_no_number() -> None:
    with running_api_server(parts()) as api:
        assert [scale_up(release(api)), scale_down(release(api)), scale_down(release(api))] == [0, 3, 0]
        assert [scale_up(release(api)), scale_up(release(api))] == [3, 0]


def test_afterwards_the_number_of_workers_belongs_to_no_client_so_that_an_upgrade_may_set_it() -> None:
    with running_api_server(everything := parts()) as api:
        scale_down(release(api))
        loaded, api.conflicts = release(api), 2  # Kubernetes creates the pods at the same time
        scale_up(loaded)
    assert worker_job(everything)["metadata"]["managedFields"] == [HELM]


def test_status_says_why_the_workers_have_no_pods_and_that_nothing_is_broken() -> None:
    everything = parts()
    everything["pods"] = [pod for pod in everything["pods"] if "-worker-" not in pod["metadata"]["name"]]
    with running_api_server(everything) as api:
        scale_down(release(api))
        view = view_release(release(api), {}, [])
    workers = [row for row in view.workers if row.state is State.WAITING]
    assert [row.risk for row in workers] == [
        "has no pod since pause --scale-down; run cifake-tune resume --release night"
    ] * 3
    assert not any(row.trouble for row in view.workers)


def test_a_user_who_may_not_change_jobs_learns_which_right_is_missing() -> None:
    with running_api_server(parts()) as api:
        loaded, api.forbidden = release(api), ("jobs",)
        with pytest.raises(EnvironmentFailure, match=r"you may not patch Job night-cifake-tune-worker-.* in namespace"):
            scale_down(loaded)
