"""Commands for a release whose bucket is on a volume that only its pods can read, or in an object store."""

import os
from pathlib import Path
from typing import Any

import pytest

from k8s.cluster.objects import Job
from k8s.release.release import Release
from tests.cli.test_release_status import command, healthy
from tests.support.api_server import cluster_at, running_api_server
from tuner.cli.release import open_release_bucket
from tuner.errors import ExitCode


def with_claim(is_over: bool = False) -> dict[str, Any]:
    """Return the objects of a release whose bucket is on the claim `shared`."""
    parts = healthy()
    parts["deployments"] = []
    for job in parts["jobs"]:
        spec = job["spec"]["template"]["spec"]
        for container in spec["containers"]:
            kept = [
                v for v in container.get("env", []) if v["name"] not in ("CIFAKE_TUNE_BUCKET", "STORAGE_EMULATOR_HOST")
            ]
            container["env"] = [*kept, {"name": "CIFAKE_TUNE_BUCKET", "value": "/bucket"}]
        spec["volumes"] = [
            *spec.get("volumes", []),
            {"name": "bucket", "persistentVolumeClaim": {"claimName": "shared"}},
        ]
    parts["pods"] = [] if is_over else parts["pods"]
    return parts


@pytest.mark.parametrize("verb", ["trials", "studies", "report"])
def test_a_command_says_in_which_pod_the_bucket_can_be_read(tmp_path: Path, verb: str) -> None:
    with running_api_server(with_claim()) as api:
        code, _, errors = command(api, tmp_path, verb)
    assert code == ExitCode.ENVIRONMENT
    printed = " ".join(errors.split())
    assert "the bucket of release night is on the volume of the claim shared, which only pods can read" in printed
    assert "kubectl exec -n kube-demo night-cifake-tune-chief-" in printed
    assert "-c chief -- cifake-tune COMMAND" in printed


def test_after_the_search_a_command_refers_to_the_page_that_shows_a_pod(tmp_path: Path) -> None:
    with running_api_server(with_claim(is_over=True)) as api:
        code, _, errors = command(api, tmp_path, "trials")
    assert code == ExitCode.ENVIRONMENT
    assert "in a pod that mounts it, as docs/kubernetes-buckets.md describes" in " ".join(errors.split())


def test_status_asks_the_chief_because_it_cannot_read_the_volume(tmp_path: Path) -> None:
    with running_api_server(with_claim()) as api:
        _, output, _ = command(api, tmp_path, "status", "--json")
    assert "the claim shared, which only pods can read" in output
    assert "The chief was asked instead, but" in output  # this API server forwards no port


def test_the_bucket_of_a_release_is_read_at_the_endpoint_of_its_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = with_claim()
    for job in parts["jobs"]:
        spec = job["spec"]["template"]["spec"]
        spec["volumes"] = spec["volumes"][:-1]
        spec["containers"][0]["env"] += [
            {"name": "AWS_ENDPOINT_URL", "value": "http://minio.lab:9000"},
            {"name": "AWS_REGION", "value": "eu-1"},
        ]
    monkeypatch.setenv("AWS_REGION", "eu-2")
    jobs = [Job.model_validate(job) for job in parts["jobs"]]
    release = Release("night", cluster_at("http://127.0.0.1:1", "lab"), jobs, [], [], [])
    with open_release_bucket(release) as bucket:
        assert bucket.url == "/bucket"
        assert (os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]) == ("http://minio.lab:9000", "eu-2")
    assert "AWS_ENDPOINT_URL" not in os.environ
