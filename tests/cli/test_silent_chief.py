"""Why the chief of a release does not answer although its pod runs: it starts, waits for the evaluation, or ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from kubernetes import client

from k8s.cluster.client import Cluster
from k8s.cluster.objects import Job, Pod
from k8s.release.release import Release
from tests.k8s import captured
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.cli.release import workers_of
from tuner.config.loading import load
from tuner.rpc import lease_service
from tuner.study import journal
from tuner.study.journal import read_study
from tuner.study.records import Finished, Opened, Record
from tuner.study.status import WorkerStatus
from tuner.study.views import StudyView, view_study

ENDED_S = 600.0
"""Seconds since the end of the search."""
LINGERS = "The chief has finished, and ends within 75 s."
STARTS = "The chief's pod runs, but the chief does not answer yet. It is starting, or waiting for data."
EVALUATES = "The search has finished, so the chief serves no workers. It waits for the evaluation."


@pytest.fixture(autouse=True)
def _closed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(release: Release) -> list[WorkerStatus]:
        with grpc.insecure_channel("127.0.0.1:1") as channel:
            return list(lease_service.LeaseStub(channel).status(5.0).workers)

    monkeypatch.setattr("tuner.cli.release.ask_chief", ask)


def release(condition: str, suspended: bool, chief_s: float) -> Release:
    """Return a release whose chief has run for `chief_s`, and whose evaluation has this state."""
    jobs = [job.model_dump(by_alias=True) for job in captured.release_parts(Job)]
    for job in jobs:
        job["status"]["conditions"] = [{"type": condition, "status": "True"}]
        job["spec"]["suspend"] = suspended
        (container,) = job["spec"]["template"]["spec"]["containers"]
        container["env"] = [e for e in container["env"] if e["name"] != names.ENV_LINGER_S]
        container["env"] += [{"name": names.ENV_LINGER_S, "value": "70"}]
    since = datetime.now(UTC) - timedelta(seconds=chief_s)
    pods = []
    for pod in captured.release_parts(Pod):
        content = pod.model_dump(by_alias=True)
        if pod.component == "chief":
            content["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": since.isoformat()}}
        pods.append(Pod.model_validate(content))
    cluster = Cluster(client.Configuration(), "kube-demo")
    return Release("night", cluster, [Job.model_validate(job) for job in jobs], [], pods, [])


def study(folder: Path, gave_up: bool | None) -> StudyView:
    """Return a study; `gave_up` is None if its search has not ended."""
    at = datetime.now(UTC).timestamp() - ENDED_S
    records: list[Record] = [
        Opened(at=at, term=1, writer="w", study=load(settings=["name=night"]), data="0" * 64, direction="max")
    ]
    if gave_up is not None:
        records.append(Finished(at=at, reason="the end", failed=gave_up))
    bucket = LocalBucket(folder)
    bucket.create(names.journal_segment("night", 1), journal.encode(1, "w", records))
    return view_study(read_study(bucket, "night"))


@pytest.mark.parametrize("condition", ["Complete", "Failed"])
def test_a_chief_whose_evaluation_has_ended_ends_too(condition: str) -> None:
    assert workers_of(release(condition, suspended=False, chief_s=1000)) == ([], LINGERS)


@pytest.mark.parametrize(
    ("gave_up", "suspended", "chief_s", "sentence"),
    [
        (None, True, 1000, STARTS),
        (True, True, 1000, LINGERS),  # without a trial that can be evaluated
        (True, True, 20, STARTS),  # this chief continues the search
        (False, True, 20, STARTS),  # this chief will start the evaluation
        (False, False, 20, EVALUATES),  # the chief was restarted during the evaluation
    ],
)
def test_the_end_of_the_search_tells_a_chief_that_ends_from_one_that_starts(
    tmp_path: Path, gave_up: bool | None, suspended: bool, chief_s: float, sentence: str
) -> None:
    view = study(tmp_path, gave_up)
    assert workers_of(release("Suspended", suspended, chief_s), lambda: view) == ([], sentence)


def test_a_new_chief_after_a_search_that_gave_up_is_not_ending_although_the_last_evaluation_has_ended(
    tmp_path: Path,
) -> None:
    view = study(tmp_path, gave_up=True)
    assert workers_of(release("Complete", suspended=False, chief_s=20), lambda: view) == ([], STARTS)
