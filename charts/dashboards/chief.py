"""The dashboard "Chief and bucket": load and latency of the chief, its journal and its bucket."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from panels import QUARTER, RATE, STUDY, THIRD, Query, line, new_dashboard, number, of, part, quantile

from tuner.monitoring.metric_names import Metric

CHIEFS = f"* on (instance) group_left () {of(Metric.BUILD, role='chief')}"


def chief() -> Dashboard:
    """Return the dashboard of the chief and its bucket."""
    errors = f"sum by (code) (rate({of(Metric.RPC_ERRORS)}[{RATE}]))"
    return (
        new_dashboard(
            "cifake-tune: chief and bucket",
            "cifake-tune-chief",
            "Load and latency of a study's chief, its journal and its bucket.",
        )
        .with_panel(
            number(
                "Chief ready",
                "none",
                "1 if the chief serves its workers and can write its journal, else 0.",
                Query(f"max({of(Metric.READY, role='chief')})"),
            )
        )
        .with_panel(
            number(
                "Chiefs so far",
                "none",
                "Number of chiefs that the study has had, including the current one.",
                Query(f"max({of(Metric.TERM)})"),
            )
        )
        .with_panel(
            number(
                "Leases", "none", "Number of trials that are assigned to workers.", Query(f"max({of(Metric.LEASES)})")
            )
        )
        .with_panel(
            number(
                "Queue",
                "none",
                "Number of trials that are waiting for a worker.",
                Query(f"max({of(Metric.TRIALS, state='queued')})"),
            )
        )
        .with_panel(
            number(
                "Workers waiting",
                "none",
                "Number of workers that are waiting for a trial.",
                Query(f"max({of(Metric.WORKERS_WAITING)})"),
            )
        )
        .with_panel(
            number(
                "Journal waits",
                "s",
                "Time for which the journal has been waiting for the bucket. From 10 s on, the chief is not ready.",
                Query(f"max({of(Metric.JOURNAL_WAITING)})"),
            )
        )
        .with_panel(
            line(
                "Calls",
                "reqps",
                "Calls per second by method.",
                Query(f"sum by (method) (rate({part(Metric.RPC, 'count')}[{RATE}]))", "{{method}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Time to answer, p99",
                "s",
                "Duration of calls by method. CreateTrial waits up to 20 s for a trial.",
                Query(quantile(0.99, Metric.RPC, by="method"), "{{method}}"),
            )
        )
        .with_panel(
            line(
                "Failed calls",
                "reqps",
                "Failed calls per second by gRPC code.",
                Query(errors, "{{code}}"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Suggestions",
                "s",
                "Time that the search algorithm takes to suggest a trial.",
                Query(quantile(0.5, Metric.SUGGESTION), "median"),
                Query(quantile(0.99, Metric.SUGGESTION), "p99"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "CPU of the chief",
                "percentunit",
                "Number of cores in use.",
                Query(f"rate(process_cpu_seconds_total{{{STUDY}}}[{RATE}]) {CHIEFS}", "cores"),
                width=THIRD,
            )
        )
        .with_row(Row("Journal"))
        .with_panel(
            line(
                "Flushes",
                "s",
                "Time until a segment of the journal is durable.",
                Query(quantile(0.5, Metric.FLUSH), "median"),
                Query(quantile(0.99, Metric.FLUSH), "p99"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Writes",
                "none",
                "Segments and records per second. A segment holds the records that arrived during the previous write.",
                Query(f"sum(rate({part(Metric.FLUSH, 'count')}[{RATE}]))", "segments"),
                Query(f"sum(rate({of(Metric.RECORDS)}[{RATE}]))", "records"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Waiting",
                "s",
                "Time for which the journal has been waiting for the bucket.",
                Query(f"max({of(Metric.JOURNAL_WAITING)})", "waits"),
                width=THIRD,
            )
        )
        .with_row(Row("Bucket"))
        .with_panel(
            line(
                "Operations",
                "reqps",
                "Operations per second of the chief and the workers.",
                Query(f"sum by (operation) (rate({part(Metric.BUCKET, 'count')}[{RATE}]))", "{{operation}}"),
                width=QUARTER,
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Latency, p99",
                "s",
                "Duration of operations, including all retries.",
                Query(quantile(0.99, Metric.BUCKET, by="operation"), "{{operation}}"),
                width=QUARTER,
            )
        )
        .with_panel(
            line(
                "Errors",
                "reqps",
                "Operations per second that failed after all retries.",
                Query(f"sum by (operation) (rate({of(Metric.BUCKET_ERRORS)}[{RATE}]))", "{{operation}}"),
                width=QUARTER,
            )
        )
        .with_panel(
            line(
                "Bytes",
                "Bps",
                "Bytes per second read from and written to the bucket.",
                Query(f"sum by (direction) (rate({of(Metric.BUCKET_BYTES)}[{RATE}]))", "{{direction}}"),
                width=QUARTER,
            )
        )
    )
