"""Studies whose bucket is on an S3 server with a certificate of its own, and on a volume that all pods share."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace, Release, cifake_tune, until
from tests.support.certificates import Authority
from tests.support.object_servers import REGION, running_s3

SHORT = {"search": {"max_trials": 2}, "training": {"epochs": 1}}
ADDRESS = os.environ.get("CLUSTER_ADDRESS", "")
"""An address of this machine that pods can call."""
NOWHERE = {"http": "http://127.0.0.1:9", "https": "http://127.0.0.1:9"}
"""Proxies that do not answer: the chief, the API server, and what noProxy names are reached without them."""


def assert_searched(trials: str) -> None:
    """Check what `trials --json` printed after the search."""
    states = [trial["state"] for trial in json.loads(trials)]
    assert len(states) == 2
    assert set(states) <= {"COMPLETED", "STOPPED"}


@pytest.mark.skipif(not ADDRESS, reason="needs an address of this machine that pods can call")
def test_a_study_on_an_s3_server_is_searched_and_read(
    namespace: Namespace, release: Callable[[str], Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "authority")
    with running_s3(authority.issue("server", ADDRESS), address=ADDRESS) as server:
        variables = server.environment()
        keys = {key: value for key, value in variables.items() if key.endswith("KEY") or key.endswith("KEY_ID")}
        namespace.apply("Secret", "keys", stringData=keys)
        namespace.apply("ConfigMap", "authorities", data={"all.pem": authority.certificate.read_text()})
        stored = release("stored")
        stored.install(
            bucket={
                "url": f"s3://{server.new_bucket()}/lab/stored",
                "endpoint": server.url,
                "region": REGION,
                "existingSecret": "keys",
            },
            proxy=NOWHERE | {"noProxy": ADDRESS},
            caBundle={"configMap": "authorities", "key": "all.pem"},
            study=SHORT,
            workers={"replicas": 2, "gpus": 0},
        )
        stored.await_evaluation()
        assert "Succeeded" in stored.test()
        where = ("--release", stored.name, "--namespace", namespace.name)
        for key, value in {**keys, "AWS_CA_BUNDLE": str(authority.certificate)}.items():
            monkeypatch.setenv(key, value)  # the endpoint and the region are the release's
        code, output = cifake_tune("trials", "--json", *where)
        assert code == 0, output
        assert_searched(output)
        code, output = cifake_tune("doctor", *where)
        assert code == 0, output
        assert "stored creates, reads, lists and deletes objects, and refuses to create one twice" in output


def test_a_study_on_a_shared_volume_is_searched_and_read(
    namespace: Namespace, release: Callable[[str], Release], image: str
) -> None:
    modes, size = ["ReadWriteMany"], {"requests": {"storage": "1Gi"}}
    namespace.apply("PersistentVolumeClaim", "shared", spec={"accessModes": modes, "resources": size})
    spread = release("spread")
    spread.install(
        bucket={"persistentVolumeClaim": {"claimName": "shared", "subPath": "runs/spread"}},
        proxy=NOWHERE,
        study=SHORT,
        workers={"replicas": 2, "gpus": 0},
    )
    where = ("--release", spread.name, "--namespace", namespace.name)
    output = until(
        "the chief's page", lambda: o if "study spread:" in (o := cifake_tune("status", *where)[1]) else None
    )
    assert "chief running" in output
    code, output = cifake_tune("trials", *where)
    assert code == 3
    command = output[output.index("run kubectl ") + len("run kubectl ") : output.index(" COMMAND")].split()
    assert command[:3] == ["exec", "-n", namespace.name]
    assert "spread" in namespace.kubectl("exec", *command[3:], "status")
    code, output = cifake_tune("doctor", *where)
    assert "the bucket is on the volume of the claim shared (ReadWriteMany)" in output
    assert "/bucket creates, reads, lists and deletes objects, and refuses to create one twice" in output
    spread.await_evaluation()
    trials = namespace.run_once(
        "reader",
        image,
        ["cifake-tune", "trials", "--json", "--bucket", "/bucket/runs/spread"],
        bucket={"persistentVolumeClaim": {"claimName": "shared"}},
    )
    assert_searched(trials)
    spread.uninstall()
    assert namespace.get("pvc", "shared")["status"]["phase"] == "Bound"
