"""Commands for a release whose bucket is on a volume that only its pods can read."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_release_status import command, healthy
from tests.support.api_server import running_api_server
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
