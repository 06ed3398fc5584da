"""The live page of a release, in a real browser through a forwarded port, until the evaluation is over."""

import re
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace, Release, until
from tests.support.browser import chromium, open_page
from tests.support.certificates import Authority
from tuner import names

TRIALS, EPOCHS = 4, 3
TOKEN = "correct-horse-battery-staple"


@contextmanager
def forwarded(release: Release, port: int = 8080, scheme: str = "http") -> Iterator[str]:
    """Do what `helm install` prints, and yield the page's address; the port here is any that is free."""
    service = f"svc/{release.chart_name}-chief"
    command = ["kubectl", "-n", release.namespace.name, "port-forward", service, f":{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            match = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert match is not None
            yield f"{scheme}://localhost:{match[1]}/"
        finally:
            process.terminate()


def test_a_release_is_followed_from_its_trials_to_its_accuracy(namespace: Namespace, image: str) -> None:
    release = Release(namespace, "seen", image)
    namespace.apply("Secret", "page-token", stringData={"token": f"{TOKEN}\n"})
    release.install(
        livePage={"tokenSecret": "page-token"},
        workers={"replicas": 1, "gpus": 0},
        bucket={"emulator": {"storageClass": "-"}},
        metrics={"lingerSeconds": 60},
        study={"search": {"max_trials": TRIALS}, "training": {"epochs": EPOCHS}},
    )
    until("the first epoch", lambda: release.epochs() >= 1)
    with (
        forwarded(release) as address,
        chromium() as browser,
        open_page(browser, f"{address}?token={TOKEN}", width=1280) as view,
    ):
        page = view.page
        page.wait_for_selector("#workers td.training", timeout=60_000)
        assert page.url == address
        assert page.inner_text("#search") == "running"
        view.screenshot("live-cluster-running")
        page.wait_for_selector("#notice:has-text('The best model is being evaluated')", timeout=300_000)
        page.wait_for_selector("#notice:has-text('The best model has been evaluated')", timeout=300_000)
        trials = release.trials()
        assert page.locator("#table tbody tr").count() == len(trials) == TRIALS
        accuracy_text = page.inner_text("#tiles div:has-text('test accuracy') dd")
        accuracy = re.search(r"accuracy +(\d+\.\d\d) %", release.logs("evaluator"))
        assert accuracy is not None
        assert accuracy_text.startswith(f"{accuracy[1]} %")
        assert (view.complaints, view.overflow_px()) == ([], 0)
        view.screenshot("live-cluster-over")


def test_a_page_with_a_certificate_is_served_from_the_pods_secret_and_the_metrics_port_says_where(
    namespace: Namespace, image: str, tmp_path: Path
) -> None:
    release = Release(namespace, "sealed", image)
    authority = Authority(tmp_path)
    files = authority.issue("page", "localhost")
    pems = {"tls.crt": files.certificate.read_text(), "tls.key": files.key.read_text()}
    namespace.apply("Secret", "page-certificate", type="kubernetes.io/tls", stringData=pems)
    release.install(
        workers={"replicas": 1, "gpus": 0},
        bucket={"emulator": {"storageClass": "-"}},
        livePage={"tlsSecret": "page-certificate", "port": 8443},
        study={"search": {"max_trials": 1}, "training": {"epochs": 1}},
    )
    until("a chief", lambda: release.running("chief"))
    trusting = ssl.create_default_context(cafile=str(authority.certificate))

    def page() -> bytes:
        with (
            forwarded(release, 8443, "https") as address,
            urllib.request.urlopen(address, context=trusting, timeout=20) as answer,
        ):
            return bytes(answer.read())

    assert b"<title>cifake-tune</title>" in until("the page", lambda: answered(page))
    with forwarded(release, 9090) as address:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(address, timeout=20)
        assert error.value.read() == b"the live page is served on port 8443, with https\n"
        with urllib.request.urlopen(f"{address}{names.HTTP_METRICS.removeprefix('/')}", timeout=20) as answer:
            assert b"cifake_tune_build_info" in answer.read()
    release.uninstall()


def answered(ask: Callable[[], bytes]) -> bytes:
    """Return the answer; nothing while no server listens."""
    try:
        return ask()
    except OSError:
        return b""
