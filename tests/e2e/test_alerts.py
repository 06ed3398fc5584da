"""A real Prometheus tells a chief that is gone from a study that was replaced or uninstalled."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import Namespace, Release, until
from tests.e2e.discovery import Discovery
from tests.support.prometheus import MISSING, RULES, RunningPrometheus, running_prometheus, tool
from tuner.monitoring.metric_names import Metric

OLD, NEW = "old", "new"

pytestmark = [pytest.mark.full, pytest.mark.skipif(tool("prometheus") is None, reason=MISSING.format("prometheus"))]


@pytest.fixture
def release(namespace: Namespace, image: str) -> Iterator[Release]:
    release = Release(namespace, "alerts", image)
    study = {"name": OLD, "search": {"max_trials": 50}, "training": {"epochs": 50}}
    release.install(workers={"replicas": 2, "gpus": 0}, study=study, bucket={"emulator": {"storageClass": "-"}})
    yield release
    release.uninstall()


@pytest.fixture
def prometheus(release: Release, tmp_path: Path) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path) as running:
        discovery = Discovery(release, running)
        discovery.start()
        yield running
        discovery.over.set()
        discovery.join(60)


def gone(study: str) -> str:
    """Return the condition of CifakeTuneChiefGone for one study, with 60 s instead of 600 and 30 instead of 300."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    (condition,) = [rule["expr"] for rule in rules if rule.get("alert") == "CifakeTuneChiefGone"]
    assert "> 600\n" in condition
    assert "> 300\n" in condition
    condition = condition.replace("> 600\n", "> 60\n").replace("> 300\n", "> 30\n")
    return f'({condition}) and on (study) label_replace(vector(1), "study", "{study}", "", "")'


def test_a_study_that_was_replaced_has_no_alert_and_one_whose_chief_is_gone_has(
    release: Release, prometheus: RunningPrometheus
) -> None:
    def searches(study: str) -> bool:
        workers = prometheus.query(f'count({Metric.READY}{{role="worker", study="{study}"}} == 1)')
        return workers == [2] and prometheus.query(f'{Metric.SEARCH}{{state="running", study="{study}"}}') == [1]

    def without_chief(study: str) -> list[float]:
        seen = f'last_over_time(study:cifake_tune_chief_seen:timestamp{{study="{study}"}}[6h])'
        return prometheus.query(f"time() - {seen} > 75")

    until("the search of the first study", lambda: searches(OLD))
    release.upgrade(study__name=NEW)
    workers = f'count({Metric.READY}{{role="worker", study="{NEW}"}})'
    until("workers that show the name of their study", lambda: prometheus.query(workers) == [2])
    until("the search of the second study", lambda: searches(NEW))
    until("the first chief to be away for a while", lambda: without_chief(OLD))
    assert prometheus.query(gone(OLD)) == []

    release.namespace.kubectl("delete", "job", release.job("chief")["metadata"]["name"])
    until("the second chief to be away for a while", lambda: without_chief(NEW))
    until("its alert", lambda: prometheus.query(gone(NEW)))
    assert prometheus.query(gone(OLD)) == []
