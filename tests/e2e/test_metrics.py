"""A real Prometheus scrapes a real study: every panel has data, the bucket's loss shows, and the result stays."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from k8s.cluster.client import connect
from k8s.release.release import load
from tests.e2e.cluster import Namespace, Release, conditions_of, run, until
from tests.e2e.discovery import Discovery, annotated
from tests.support.browser import ARTIFACTS
from tests.support.prometheus import (
    DASHBOARDS,
    MISSING,
    PanelQuery,
    RunningPrometheus,
    Series,
    queries,
    running_prometheus,
    tool,
)
from tests.support.scrape import get
from tuner import names
from tuner.cli.release import open_release_bucket
from tuner.monitoring.metric_names import Metric
from tuner.study.progress import downsample

STUDY = "metrics"
WHOLE_S = 3600
"""Longer than the study takes."""
OF_GPUS = {Metric.GPU_MEMORY, Metric.GPU_UTILIZATION, Metric.GPU_DEVICE_MEMORY, Metric.GPU_POWER}
POINTS = 60
"""Of each line that is kept to be looked at."""

pytestmark = pytest.mark.skipif(tool("prometheus") is None, reason=MISSING.format("prometheus"))


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.fixture(scope="module")
def searching(namespace: Namespace, image: str, prometheus: RunningPrometheus) -> Iterator[Release]:
    release = Release(namespace, STUDY, image)
    study = {"search": {"max_trials": 4}, "training": {"epochs": 3}}
    release.install(workers={"replicas": 2, "gpus": 0}, metrics={"lingerSeconds": 20}, study=study)
    discovery = Discovery(release, prometheus)
    discovery.start()
    yield release
    discovery.over.set()
    discovery.join(60)
    run("helm", "uninstall", release.name, "-n", namespace.name)


@pytest.fixture(scope="module")
def panel_results(searching: Release) -> Iterator[list[dict[str, Any]]]:
    """What each panel drew: it is written to the artifacts, for tools/draw_panels.py and for a look at them."""
    panels: list[dict[str, Any]] = []
    yield panels
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    (ARTIFACTS / "panels.json").write_text(json.dumps(panels) + "\n", encoding="utf-8")


def few_of(series: Series) -> dict[str, Any]:
    """Return a series with few points, which Prometheus's own labels do not tell from others."""
    labels = {name: value for name, value in series.labels.items() if not name.startswith("__")}
    return {
        "labels": labels,
        "points": downsample([point for point in series.points if math.isfinite(point[1])], POINTS),
    }


def ready(release: Release, component: str) -> list[str]:
    """Return the pods of a component that are ready."""
    return [pod["metadata"]["name"] for pod in release.running(component) if "Ready" in conditions_of(pod)]


def test_chief_and_workers_are_found_and_scraped(searching: Release, prometheus: RunningPrometheus) -> None:
    targets = until("three pods", lambda: len(pods := annotated(searching)) == 3 and pods)
    address = next(iter(targets))
    try:
        get(address, names.HTTP_HEALTHY)
    except TimeoutError:
        pytest.skip("this cluster's pods cannot be reached from here")
    except OSError:
        pass  # it does not listen yet
    until("three that are up", lambda: sum(prometheus.query("up")) == 3)
    until("all to be ready", lambda: len([*ready(searching, "chief"), *ready(searching, "worker")]) == 3)
    assert until("both workers", lambda: prometheus.query(f"sum({Metric.WORKERS}) == 2"))


def test_a_chief_without_its_bucket_is_not_ready_until_it_is_back(
    searching: Release, prometheus: RunningPrometheus
) -> None:
    until("an epoch", lambda: prometheus.query(f"{Metric.EPOCHS} > 0"))
    deployment = f"deployment/{searching.chart_name}-bucket"
    searching.namespace.kubectl("scale", deployment, "--replicas=0")
    until("the chief not to be ready", lambda: not ready(searching, "chief"))
    assert until("Prometheus to see it", lambda: prometheus.query(f'{Metric.READY}{{role="chief"}} == 0'))
    assert prometheus.query(f"max_over_time({Metric.JOURNAL_WAITING}[1m])")[0] > 5
    searching.namespace.kubectl("scale", deployment, "--replicas=1")
    until("the chief to be ready", lambda: ready(searching, "chief"))


def test_the_evaluations_result_is_there_when_all_pods_have_ended(
    searching: Release, prometheus: RunningPrometheus
) -> None:
    searching.await_evaluation()
    until("nothing to be scraped", lambda: not prometheus.query("up"))
    with open_release_bucket(load(connect(searching.namespace.name, None), searching.name)) as bucket:
        stored = json.loads(bucket.read(names.evaluation(STUDY, names.METRICS_JSON)))
    assert prometheus.query(f"max(last_over_time({Metric.ACCURACY}[1h]))") == [stored["accuracy"]]
    lower, upper = stored["accuracy_interval_95"]
    assert prometheus.query(f"max(last_over_time({Metric.ACCURACY_LOWER}[1h]))") == [lower]
    assert prometheus.query(f"max(last_over_time({Metric.ACCURACY_UPPER}[1h]))") == [upper]
    assert prometheus.query(f"max(last_over_time({Metric.EVALUATION_IMAGES}[1h]))") == [stored["images"]]


@pytest.mark.parametrize(
    "query",
    [query for file in DASHBOARDS for query in queries(file)],
    ids=lambda query: f"{query.dashboard}: {query.panel}",
)
def test_every_panel_had_data(
    searching: Release, prometheus: RunningPrometheus, query: PanelQuery, panel_results: list[dict[str, Any]]
) -> None:
    drawn = prometheus.over_time(query.of(STUDY, rate="20s"), WHOLE_S)
    if query.metrics & (OF_GPUS | {Metric.RUNG_PAUSED}):
        assert not drawn  # no GPU was asked for, and no trial is paused without promotion
        return
    assert drawn, query.expression
    assert any(not math.isnan(value) for series in drawn for _, value in series.points)
    panel_results.append({**asdict(query), "series": [few_of(series) for series in drawn]})


def test_the_numbers_are_those_of_the_study(searching: Release, prometheus: RunningPrometheus) -> None:
    status = searching.status()

    def last(metric: Metric, **labels: str) -> list[float]:
        selector = ", ".join(f'{label}="{value}"' for label, value in labels.items())
        return prometheus.query(f"max(last_over_time({metric}{{{selector}}}[1h]))")

    assert last(Metric.SEARCH, state="finished") == [1]
    for state in ("completed", "stopped", "failed"):
        assert last(Metric.TRIALS, state=state) == [status[state]]
    assert last(Metric.EPOCHS) == [status["epochs_trained"]]
    assert last(Metric.BEST_SCORE) == [status["best_score"]]
