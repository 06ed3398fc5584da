"""What is said of the metrics, and that their names keep Prometheus's conventions and ours."""

import re
from pathlib import Path

from tests.support.modules import module_at
from tuner.monitoring import catalogue
from tuner.monitoring.catalogue import Family, MetricKind
from tuner.monitoring.metric_names import Metric

DOCS = Path(__file__).parents[2] / "docs"
ALL: tuple[Family, ...] = (*catalogue.BOTH, *catalogue.CHIEF, *catalogue.WORKER)


def test_every_metric_that_has_a_name_is_described_once() -> None:
    assert sorted(family.name for family in ALL) == sorted(Metric)


def test_names_have_our_prefix_a_counters_end_and_base_units() -> None:
    for family in ALL:
        assert re.fullmatch(r"cifake_tune_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind is MetricKind.COUNTER)
        assert not re.search("milli|minutes|percent|kib|mib", family.name)
        if family.kind is MetricKind.HISTOGRAM:
            assert family.name.endswith("_seconds")


def test_labels_are_few_and_none_of_them_grows_with_a_study() -> None:
    labels = {label for family in ALL for label in family.labels}
    few = {"role", "version", "operation", "direction", "state", "outcome", "reason", "rung", "method", "code"}
    assert labels == few | {"activity", "budget", "gpu", "kind"}


def test_the_page_of_metrics_is_up_to_date() -> None:
    generate = module_at(DOCS.parent / "tools" / "reference_pages.py")
    page = generate.metrics()
    assert (DOCS / "metrics.md").read_text(encoding="utf-8") == page, "run `make docs`"
    assert all(f"`{name}`" in page for name in Metric)
