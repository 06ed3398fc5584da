"""The Job that makes a release's certificates creates one Secret once, whatever it finds."""

import base64
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from k8s import certificates
from k8s.cluster.client import ApiRefusedError
from k8s.cluster.objects import Secret
from tests.support.http_server import QuietHandler, server_of, serving
from tuner import names
from tuner.errors import EnvironmentFailure, UsageError
from tuner.rpc import tls

OWNER = {"name": "night-cifake-tune-tls", "uid": "1"}
CHIEF = "night-cifake-tune-chief"


class FakeCluster:
    """The Secrets of a namespace, as far as the Job may see them."""

    namespace = "lab"

    def __init__(self, existing: Mapping[str, Any] | None = None, conflicts: int = 0) -> None:
        self.secret = existing
        self.conflicts = conflicts
        self.applied: list[Mapping[str, Any]] = []

    def get(self, kind: type[Secret], name: str) -> Secret:
        if self.secret is None:
            raise ApiRefusedError("", 404, "not found")
        return kind.model_validate(self.secret)

    def apply(self, kind: type[Secret], body: Mapping[str, Any], manager: str) -> Secret:
        if self.conflicts:
            self.conflicts -= 1
            self.secret = body  # of the other pod
            raise ApiRefusedError("", 409, "conflict")
        self.applied.append(body)
        return kind.model_validate(body)


def ensure(cluster: FakeCluster, sleep: Any = lambda seconds: None) -> bool:
    return certificates.ensure(cluster, "tls", CHIEF, OWNER, sleep)  # type: ignore[arg-type]


def existing(**owner: str) -> dict[str, Any]:
    return certificates.manifest("tls", certificates.certificates(CHIEF, "lab"), OWNER | owner)


def test_a_missing_secret_is_created_and_belongs_to_the_service_account() -> None:
    cluster = FakeCluster()
    assert ensure(cluster)
    (body,) = cluster.applied
    metadata = body["metadata"]
    assert metadata["ownerReferences"] == [{"apiVersion": "v1", "kind": "ServiceAccount", **OWNER}]
    assert "app.kubernetes.io/instance" not in metadata["labels"]
    assert set(body["data"]) == {"tls.crt", "tls.key", "ca.crt"}


@pytest.mark.parametrize("owners", [OWNER, None], ids=["made by the Job", "made by a user or an older chart"])
def test_an_existing_secret_is_kept(owners: dict[str, str] | None) -> None:
    secret = existing()
    if owners is None:
        del secret["metadata"]["ownerReferences"]
    cluster = FakeCluster(secret)
    assert not ensure(cluster)
    assert not cluster.applied


def test_the_secret_of_a_release_that_was_uninstalled_just_before_is_not_used() -> None:
    cluster, waits = FakeCluster(existing(uid="0")), []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            cluster.secret = None

    assert ensure(cluster, sleep)
    assert len(waits) == 3
    with pytest.raises(EnvironmentFailure, match=r"belongs to a release that was uninstalled.*kubectl delete secret"):
        ensure(FakeCluster(existing(uid="0")))


def test_if_another_pod_creates_the_secret_at_the_same_time_its_certificates_are_kept() -> None:
    cluster = FakeCluster(conflicts=1)
    assert not ensure(cluster)
    assert not cluster.applied


def test_a_secret_without_certificates_is_an_error_that_says_what_to_do() -> None:
    secret = existing()
    del secret["data"]["tls.key"], secret["data"]["ca.crt"]
    with pytest.raises(UsageError, match=r"has no tls.key and no ca.crt. Delete it.*tls.existingSecret"):
        ensure(FakeCluster(secret))


def test_an_injected_sidecar_is_asked_to_end_also_if_the_job_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[str] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()

    monkeypatch.setattr("sys.argv", ["certificates", "tls", CHIEF])
    monkeypatch.setattr(certificates, "_TOKEN", Path("/does/not/exist"))
    with serving(server_of(Handler)) as url:
        monkeypatch.setenv(names.ENV_QUIT_URL, f"{url}/quitquitquit")
        with pytest.raises((SystemExit, OSError)):
            certificates.main()
    assert requests == ["/quitquitquit"]


def test_the_name_and_uid_of_the_account_are_those_of_the_token() -> None:
    claims = {"kubernetes.io": {"namespace": "lab", "serviceaccount": OWNER}, "sub": "x"}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert certificates._account(f"header.{payload}.signature") == OWNER


def test_chief_and_worker_accept_each_others_certificate(tmp_path: Path) -> None:
    content = certificates.certificates(CHIEF, "lab")
    for name, pem in content.items():
        (tmp_path / name).write_bytes(pem)
    files = tls.Files(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt", f"{CHIEF}.lab.svc")
    files.read()
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(files))
    server.start()
    channel = tls.open_channel(f"127.0.0.1:{port}", files, ())
    with pytest.raises(grpc.RpcError) as refusal:
        channel.unary_unary("/none/None")(b"", timeout=10)
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED  # the connection was accepted
    server.stop(None)


def test_the_certificate_is_for_the_chiefs_service_and_its_clients_for_ten_years() -> None:
    content = certificates.certificates(CHIEF, "lab")
    certificate = x509.load_pem_x509_certificate(content["tls.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) >= {CHIEF, f"{CHIEF}.lab.svc.cluster.local", "localhost"}
    assert certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3649)
