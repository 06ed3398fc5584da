"""The live page of a release, in a real browser through a forwarded port, until the evaluation is over."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.cluster import Namespace, Release, until
from tests.support.browser import chromium, open_page

TRIALS, EPOCHS = 4, 3


@contextmanager
def forwarded(release: Release) -> Iterator[str]:
    """Do what `helm install` prints, and yield the page's address; the port here is any that is free."""
    service = f"svc/{release.chart_name}-chief"
    command = ["kubectl", "-n", release.namespace.name, "port-forward", service, ":8080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            match = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert match is not None
            yield f"http://localhost:{match[1]}/"
        finally:
            process.terminate()


def test_a_release_is_followed_from_its_trials_to_its_accuracy(namespace: Namespace, image: str) -> None:
    release = Release(namespace, "seen", image)
    release.install(
        workers={"replicas": 1, "gpus": 0},
        bucket={"emulator": {"storageClass": "-"}},
        metrics={"lingerSeconds": 60},
        study={"search": {"max_trials": TRIALS}, "training": {"epochs": EPOCHS}},
    )
    until("the first epoch", lambda: release.epochs() >= 1)
    with forwarded(release) as address, chromium() as browser, open_page(browser, address, width=1280) as view:
        page = view.page
        page.wait_for_selector("#workers td.training", timeout=60_000)
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
