"""Panels of the dashboards: their appearance and their Prometheus queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, gauge, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import GraphDrawStyle, StackingMode, VizOrientation
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from tuner.monitoring.metric_names import LABEL_NAMESPACE, LABEL_STUDY, Metric

DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
RATE = "$__rate_interval"
RANGE = "$__range"
NAMESPACE = f'{LABEL_NAMESPACE}=~"$namespace"'
STUDY = f'{LABEL_STUDY}="$study", {NAMESPACE}'
HALF, THIRD, QUARTER, SIXTH = 12, 8, 6, 4
"""Widths of panels in columns. A row has 24 columns."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expression: str
    legend: str = ""


def of(metric: Metric, **labels: str) -> str:
    """Return the selector of a metric of the chosen study. With `state="a|b"`, either value matches."""
    matchers = [f'{label}=~"{value}"' if "|" in value else f'{label}="{value}"' for label, value in labels.items()]
    return f"{metric}{{{', '.join([STUDY, *matchers])}}}"


def newest(metric: Metric, **labels: str) -> str:
    """Return the metric of the newest chief, because a fenced chief may run for a while beside its successor."""
    return f"{of(metric, **labels)} and on (instance) topk(1, {of(Metric.CHIEF_STARTED)})"


def part(metric: Metric, suffix: str, **labels: str) -> str:
    """Return the selector of one series of a histogram, which is `bucket`, `sum` or `count`."""
    return of(metric, **labels).replace("{", f"_{suffix}{{", 1)


def quantile(share: float, metric: Metric, by: str = "", **labels: str) -> str:
    """Return the expression of a quantile of a histogram, grouped by one of its labels if `by` is given."""
    kept, rate = f"le, {by}" if by else "le", f"rate({part(metric, 'bucket', **labels)}[{RATE}])"
    return f"histogram_quantile({share}, sum by ({kept}) ({rate}))"


def new_dashboard(title: str, uid: str, description: str) -> dashboard.Dashboard:
    """Return a dashboard of one study, which the user selects at the top."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["cifake-tune"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("cifake-tune")
            .type("dashboards")
            .tags(["cifake-tune"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable(LABEL_NAMESPACE)  # studies in different namespaces may have the same name
            .label("Namespace")
            .datasource(DATA_SOURCE)
            .query(f"label_values({Metric.TRIALS}, {LABEL_NAMESPACE})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .include_all(True)
            .all_value(".*")  # also matches series without a namespace, from outside Kubernetes
            .current(VariableOption(selected=True, text="All", value="$__all"))
        )
        .with_variable(
            dashboard.QueryVariable(LABEL_STUDY)
            .label("Study")
            .datasource(DATA_SOURCE)
            .query(f"label_values({Metric.TRIALS}{{{NAMESPACE}}}, {LABEL_STUDY})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .current(VariableOption(selected=True, text="", value=""))
        )
    )


def line(
    title: str,
    unit: str,
    description: str,
    *queries: Query,
    width: int = HALF,
    stacked: bool = False,
    nothing: str = "",
) -> Any:
    """Return a panel of lines over time. It shows the text `nothing` if there is no data."""
    panel = _configured(timeseries.Panel(), title, unit, description, queries, width, 8, nothing)
    panel = panel.min(0).line_width(2).fill_opacity(25 if stacked else 8).span_nulls(False)
    legend = common.VizLegendOptions().show_legend(True).placement("bottom").display_mode("list")
    panel = panel.legend(legend).tooltip(common.VizTooltipOptions().mode("multi").sort("desc"))
    return panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)) if stacked else panel


def bars(title: str, unit: str, description: str, *queries: Query, width: int = HALF) -> Any:
    """Return a panel of stacked bars over time."""
    return line(title, unit, description, *queries, width=width, stacked=True).draw_style(GraphDrawStyle.BARS)


def number(title: str, unit: str, description: str, *queries: Query, width: int = SIXTH, nothing: str = "") -> Any:
    """Return a panel that shows the current value. It shows the text `nothing` if there is no data."""
    return _configured(stat.Panel(), title, unit, description, queries, width, 4, nothing)


def share(title: str, description: str, query: Query, width: int = SIXTH) -> Any:
    """Return a panel that shows the current fraction of a whole."""
    return _configured(gauge.Panel(), title, "percentunit", description, [query], width, 4).min(0).max(1)


def ranking(title: str, unit: str, description: str, *queries: Query, width: int = HALF) -> Any:
    """Return a panel that shows the current values as one bar per series."""
    panel = _configured(bargauge.Panel(), title, unit, description, queries, width, 8)
    return panel.min(0).orientation(VizOrientation.HORIZONTAL)


def _configured(
    panel: Any,
    title: str,
    unit: str,
    description: str,
    queries: Sequence[Query],
    width: int,
    height: int,
    nothing: str = "",
) -> Any:
    panel = panel.title(title).description(description).unit(unit).datasource(DATA_SOURCE).span(width).height(height)
    panel = panel.no_value(nothing) if nothing else panel
    for number_, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expression).ref_id(chr(ord("A") + number_)).datasource(DATA_SOURCE)
        panel = panel.with_target(target.legend_format(query.legend or "__auto").range())
    return panel
