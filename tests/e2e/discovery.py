"""Tells a Prometheus which pods to scrape."""

import threading
from contextlib import suppress

from tests.e2e.cluster import FailedError, Release
from tests.support.prometheus import RunningPrometheus
from tuner import names


class Discovery(threading.Thread):
    """Tells a Prometheus which pods of a release are to be scraped, by their annotations, as its own discovery would.

    (Debian's Prometheus is built without the one for Kubernetes.)
    """

    def __init__(self, release: Release, prometheus: RunningPrometheus) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self._release = release
        self._prometheus = prometheus

    def run(self) -> None:
        while not self.over.wait(0.5):
            with suppress(FailedError):
                self._prometheus.scrape(annotated(self._release))


def annotated(release: Release) -> dict[str, dict[str, str]]:
    """Return the addresses that the annotations of running pods say, with the pods' names."""
    targets = {}
    for pod in release.pods():
        notes, status = pod["metadata"].get("annotations", {}), pod["status"]
        if notes.get("prometheus.io/scrape") == "true" and status["phase"] == "Running" and "podIP" in status:
            assert notes["prometheus.io/path"] == names.HTTP_METRICS
            targets[f"{status['podIP']}:{notes['prometheus.io/port']}"] = {"pod": pod["metadata"]["name"]}
    return targets
