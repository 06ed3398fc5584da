"""The dashboard Chief and bucket: whether they keep up."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from panels import QUARTER, RATE, STUDY, THIRD, Query, line, new_dashboard, number, of, part, quantile

from tuner.names import Metric

CHIEFS = f"* on (instance) group_left () {of(Metric.BUILD, role='chief')}"


def chief() -> Dashboard:
    """Whether the chief and its bucket keep up."""
    errors = f"sum by (code) (rate({of(Metric.RPC_ERRORS)}[{RATE}]))"
    return (
        new_dashboard(
            "cifake-tune: chief and bucket", "cifake-tune-chief", "Whether a study's chief and its bucket keep up."
        )
        .with_panel(
            number(
                "Chief ready",
                "none",
                "1: it serves workers and can write its journal.",
                Query(f"max({of(Metric.READY, role='chief')})"),
            )
        )
        .with_panel(
            number(
                "Chiefs so far",
                "none",
                "How many the study has had, one after the other.",
                Query(f"max({of(Metric.TERM)})"),
            )
        )
        .with_panel(number("Leases", "none", "Trials that are out with workers.", Query(f"max({of(Metric.LEASES)})")))
        .with_panel(
            number(
                "Queue", "none", "Trials that wait for a worker.", Query(f"max({of(Metric.TRIALS, state='queued')})")
            )
        )
        .with_panel(
            number(
                "Workers waiting", "none", "For a trial, at this moment.", Query(f"max({of(Metric.WORKERS_WAITING)})")
            )
        )
        .with_panel(
            number(
                "Journal waits",
                "s",
                "For the bucket; from 10 s on the chief is not ready.",
                Query(f"max({of(Metric.JOURNAL_WAITING)})"),
            )
        )
        .with_panel(
            line(
                "Calls",
                "reqps",
                "By method.",
                Query(f"sum by (method) (rate({part(Metric.RPC, 'count')}[{RATE}]))", "{{method}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Time to answer, p99",
                "s",
                "By method. CreateTrial waits up to 20 s for a trial.",
                Query(quantile(0.99, Metric.RPC, by="method"), "{{method}}"),
            )
        )
        .with_panel(
            line(
                "Calls that failed",
                "reqps",
                "By gRPC's code.",
                Query(errors, "{{code}}"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Suggestions",
                "s",
                "Time that the search algorithm takes for one.",
                Query(quantile(0.5, Metric.SUGGESTION), "median"),
                Query(quantile(0.99, Metric.SUGGESTION), "p99"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Chief's processor",
                "percentunit",
                "Cores in use.",
                Query(f"rate(process_cpu_seconds_total{{{STUDY}}}[{RATE}]) {CHIEFS}", "cores"),
                width=THIRD,
            )
        )
        .with_row(Row("Journal"))
        .with_panel(
            line(
                "Flushes",
                "s",
                "How long a segment takes to be durable.",
                Query(quantile(0.5, Metric.FLUSH), "median"),
                Query(quantile(0.99, Metric.FLUSH), "p99"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Written",
                "none",
                "Segments and records per second; a segment carries what arrived while the last was written.",
                Query(f"sum(rate({part(Metric.FLUSH, 'count')}[{RATE}]))", "segments"),
                Query(f"sum(rate({of(Metric.RECORDS)}[{RATE}]))", "records"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Waiting",
                "s",
                "For how long the journal has waited for the bucket.",
                Query(f"max({of(Metric.JOURNAL_WAITING)})", "waits"),
                width=THIRD,
            )
        )
        .with_row(Row("Bucket"))
        .with_panel(
            line(
                "Operations",
                "reqps",
                "Of chief and workers.",
                Query(f"sum by (operation) (rate({part(Metric.BUCKET, 'count')}[{RATE}]))", "{{operation}}"),
                width=QUARTER,
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Latency, p99",
                "s",
                "With all retries.",
                Query(quantile(0.99, Metric.BUCKET, by="operation"), "{{operation}}"),
                width=QUARTER,
            )
        )
        .with_panel(
            line(
                "Errors",
                "reqps",
                "Operations that failed after all retries.",
                Query(f"sum by (operation) (rate({of(Metric.BUCKET_ERRORS)}[{RATE}]))", "{{operation}}"),
                width=QUARTER,
            )
        )
        .with_panel(
            line(
                "Bytes",
                "Bps",
                "Read and written.",
                Query(f"sum by (direction) (rate({of(Metric.BUCKET_BYTES)}[{RATE}]))", "{{direction}}"),
                width=QUARTER,
            )
        )
    )
