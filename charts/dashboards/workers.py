"""The dashboard Workers: what they do with their time, and what keeps them."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import QUARTER, RATE, STUDY, THIRD, Query, bars, line, new_dashboard, number, of, share

from tuner.names import Metric


def workers() -> Dashboard:
    """What the workers do with their time."""
    busy = f"rate({of(Metric.WORKER_TIME)}[{RATE}])"
    waiting = f"rate({of(Metric.WORKER_TIME, activity='wait')}[{RATE}])"
    images = f"rate({of(Metric.WORKER_IMAGES)}[{RATE}])"
    interrupted, failed = (
        f"sum by (reason) (clamp_min(delta({of(Metric.ATTEMPTS, outcome=outcome)}[{RATE}]), 0))"
        for outcome in ("interrupted", "failed")
    )
    return (
        new_dashboard("cifake-tune: workers", "cifake-tune-workers", "What a study's workers do, and what keeps them.")
        .with_panel(
            number(
                "Workers",
                "none",
                "Those that the chief has heard lately.",
                Query(f"sum({of(Metric.WORKERS, state='training|idle')})"),
                width=QUARTER,
            )
        )
        .with_panel(
            number("Images per second", "none", "Trained on, of all workers.", Query(f"sum({images})"), width=QUARTER)
        )
        .with_panel(
            share(
                "Idle",
                "Share of the workers' time that they wait for a trial.",
                Query(f"avg({waiting})"),
                width=QUARTER,
            )
        )
        .with_panel(
            number(
                "GPUs",
                "none",
                "Found by the workers; and those they asked for and did not find.",
                Query(f"sum({of(Metric.GPUS)})", "found"),
                Query(f"sum({of(Metric.GPUS_MISSING)})", "missing"),
                width=QUARTER,
            )
        )
        .with_panel(
            line(
                "Workers by state",
                "none",
                "As the chief sees them; silent for as long as a lease lasts means lost.",
                Query(f"max by (state) ({of(Metric.WORKERS)})", "{{state}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Images per second by worker",
                "none",
                "Training images.",
                Query(f"sum by (instance) ({images})", "{{instance}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Where the time goes",
                "none",
                "Workers at each activity, on average. With TensorFlow input is made beside the training.",
                Query(f"sum by (activity) ({busy})", "{{activity}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Epochs per minute",
                "none",
                "Of all workers.",
                Query(f"60 * sum(rate({of(Metric.WORKER_EPOCHS)}[{RATE}]))", "epochs"),
            )
        )
        .with_panel(
            bars(
                "Interruptions",
                "none",
                "Attempts whose worker was preempted (it handed its trial back) or lost (it fell silent).",
                Query(interrupted, "{{reason}}"),
            )
        )
        .with_panel(
            bars(
                "Failures",
                "none",
                "Attempts that ended with an exception, without memory, or with what would fail again.",
                Query(failed, "{{reason}}"),
            )
        )
        .with_panel(
            line(
                "GPU memory",
                "bytes",
                "Used now, and at the most, of all workers.",
                Query(f"sum by (kind) ({of(Metric.GPU_MEMORY)})", "{{kind}}"),
                width=THIRD,
                nothing="no GPU",
            )
        )
        .with_panel(
            line(
                "Memory",
                "bytes",
                "Of each process, chief included.",
                Query(f"process_resident_memory_bytes{{{STUDY}}}", "{{instance}}"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Last heartbeat",
                "s",
                "How long ago the chief answered one; an idle worker's next comes after a third of a lease.",
                Query(f"time() - {of(Metric.WORKER_BEAT)}", "{{instance}}"),
                width=THIRD,
            )
        )
    )
