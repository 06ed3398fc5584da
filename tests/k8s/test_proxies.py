"""An API server on this machine, or in the pod's own cluster, is not called through a proxy; another one is."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from k8s.cluster.client import ApiRefusedError, connect, connect_from_pod
from k8s.cluster.port_forward import forwarded
from k8s.doctor import local_checks
from tests.support.api_server import ApiServer, running_api_server
from tests.support.gcs_emulator import Emulator
from tests.support.proxies import DEAD, running_noting_proxy, through
from tuner.errors import EnvironmentFailure


def use_kubeconfig(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))  # read at the import
    monkeypatch.setenv("KUBECONFIG", str(path))


def use_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for variable, value in through(url).items():
        monkeypatch.setenv(variable, value)


def test_an_api_server_on_this_machine_is_called_directly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with running_api_server({}) as api:
        use_kubeconfig(monkeypatch, api.kubeconfig(tmp_path, "lab"))
        use_proxy(monkeypatch, DEAD)
        connect(None, None).clock()
    assert api.requests == ["/version"]


def test_a_port_is_forwarded_without_a_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        request = b""

        def refuse() -> None:
            nonlocal request
            connection, _ = server.accept()
            request = connection.recv(1000)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        config = ApiServer({}, url=f"http://127.0.0.1:{server.getsockname()[1]}").kubeconfig(tmp_path, "lab")
        use_kubeconfig(monkeypatch, config)
        use_proxy(monkeypatch, DEAD)
        with pytest.raises(ApiRefusedError), forwarded(connect(None, None), "chief", 8000):
            pass
        thread.join(10)
    assert request.startswith(b"GET /api/v1/namespaces/lab/pods/chief/portforward?ports=8000 ")


def test_an_api_server_elsewhere_is_called_through_the_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = ApiServer({}, url="http://cluster.example.com:6443").kubeconfig(tmp_path, "lab")
    use_kubeconfig(monkeypatch, config)
    with running_noting_proxy() as proxy:
        use_proxy(monkeypatch, proxy.url)
        with pytest.raises(ApiRefusedError):  # the proxy refuses
            connect(None, None).clock()
    assert proxy.hosts == ["http://cluster.example.com:6443/version"]


def test_the_proxy_of_the_kubeconfig_is_used_for_an_address_of_this_machine_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As for a tunnel to a cluster whose API server listens on loopback."""
    with running_noting_proxy() as proxy:
        config = ApiServer({}, url="http://127.0.0.1:6443").kubeconfig(tmp_path, "lab")
        text = config.read_text().replace('"server"', f'"proxy-url": "{proxy.url}", "server"')
        config.write_text(text)
        use_kubeconfig(monkeypatch, config)
        use_proxy(monkeypatch, DEAD)
        with pytest.raises(ApiRefusedError):
            connect(None, None).clock()
    assert proxy.hosts == ["http://127.0.0.1:6443/version"]


def test_a_pod_calls_its_own_clusters_api_server_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(client_configuration: Any) -> None:
        client_configuration.host = "http://10.96.0.1.invalid"

    monkeypatch.setattr("kubernetes.config.load_incluster_config", load)
    with running_noting_proxy() as proxy:
        use_proxy(monkeypatch, proxy.url)
        with pytest.raises(EnvironmentFailure, match=r"cannot be reached .*10\.96\.0\.1\.invalid"):
            connect_from_pod("lab").clock()
    assert proxy.hosts == []


def test_doctor_tries_the_releases_bucket_directly(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> None:
    name = emulator.new_bucket()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    use_proxy(monkeypatch, DEAD)
    findings = list(local_checks.check_bucket(f"gs://{name}/prefix", "this machine"))
    assert {finding.check: finding.severity for finding in findings} == {"clock": "fine", "bucket": "fine"}


def test_doctor_names_the_proxy_that_prevents_a_call_of_googles_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    use_proxy(monkeypatch, DEAD)
    (finding,) = local_checks.check_bucket("gs://somewhere", "this machine")
    assert "the proxy 127.0.0.1:9 for https://storage.googleapis.com refuses the connection" in finding.what
