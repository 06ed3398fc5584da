"""The dashboard "Workers": throughput, activities and interruptions of the workers."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import QUARTER, RATE, STUDY, THIRD, Query, bars, line, new_dashboard, number, of, share

from tuner.monitoring.metric_names import Metric


def workers() -> Dashboard:
    """Return the dashboard of the workers."""
    busy = f"rate({of(Metric.WORKER_TIME)}[{RATE}])"
    waiting = f"rate({of(Metric.WORKER_TIME, activity='wait')}[{RATE}])"
    images = f"rate({of(Metric.WORKER_IMAGES)}[{RATE}])"
    interrupted, failed = (
        f"sum by (reason) (clamp_min(delta({of(Metric.ATTEMPTS, outcome=outcome)}[{RATE}]), 0))"
        for outcome in ("interrupted", "failed")
    )
    return (
        new_dashboard(
            "cifake-tune: workers",
            "cifake-tune-workers",
            "Throughput, activities and interruptions of a study's workers.",
        )
        .with_panel(
            number(
                "Workers",
                "none",
                "Number of workers whose heartbeats reach the chief.",
                Query(f"sum({of(Metric.WORKERS, state='training|idle')})"),
                width=QUARTER,
            )
        )
        .with_panel(
            number(
                "Images per second",
                "none",
                "Training images (samples, if the space brings its own data) per second of all workers.",
                Query(f"sum({images})"),
                width=QUARTER,
            )
        )
        .with_panel(
            share(
                "Idle",
                "Fraction of the workers' time spent waiting for a trial.",
                Query(f"avg({waiting})"),
                width=QUARTER,
            )
        )
        .with_panel(
            number(
                "GPUs",
                "none",
                "Number of GPUs that the workers found, and number that they requested and did not find.",
                Query(f"sum({of(Metric.GPUS)})", "found"),
                Query(f"sum({of(Metric.GPUS_MISSING)})", "missing"),
                width=QUARTER,
            )
        )
        .with_panel(
            line(
                "Workers by state",
                "none",
                "Number of workers by state. A worker is silent after the duration of a lease without a heartbeat.",
                Query(f"max by (state) ({of(Metric.WORKERS)})", "{{state}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Images per second by worker",
                "none",
                "Training images (samples, if the space brings its own data) per second of each worker.",
                Query(f"sum by (instance) ({images})", "{{instance}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Where the time goes",
                "none",
                "Average number of workers per activity. With TensorFlow, input is prepared in parallel with training.",
                Query(f"sum by (activity) ({busy})", "{{activity}}"),
                stacked=True,
            )
        )
        .with_panel(
            line(
                "Epochs per minute",
                "none",
                "Epochs per minute of all workers.",
                Query(f"60 * sum(rate({of(Metric.WORKER_EPOCHS)}[{RATE}]))", "epochs"),
            )
        )
        .with_panel(
            bars(
                "Interruptions",
                "none",
                "Attempts whose worker was preempted (it handed back its trial) or lost (its heartbeats stopped).",
                Query(interrupted, "{{reason}}"),
            )
        )
        .with_panel(
            bars(
                "Failures",
                "none",
                "Attempts that ended with an exception, out of memory, or with an error that a retry would repeat.",
                Query(failed, "{{reason}}"),
            )
        )
        .with_panel(
            line(
                "GPU utilization",
                "percentunit",
                "Fraction of the time in which each GPU computed, as NVIDIA's driver reports it. A GPU that several "
                "workers share has a line for each of them.",
                Query(of(Metric.GPU_UTILIZATION), "{{instance}} GPU {{gpu}}"),
                width=THIRD,
                nothing="no GPU",
            )
        )
        .with_panel(
            line(
                "Memory of the GPUs",
                "bytes",
                "Memory of each GPU: used by all processes, and total.",
                Query(of(Metric.GPU_DEVICE_MEMORY), "{{instance}} GPU {{gpu}} {{kind}}"),
                width=THIRD,
                nothing="no GPU",
            )
        )
        .with_panel(
            line(
                "GPU power",
                "watt",
                "Power that each GPU draws. A GPU that waits for the host draws little, although it counts as busy.",
                Query(of(Metric.GPU_POWER), "{{instance}} GPU {{gpu}}"),
                width=THIRD,
                nothing="no GPU",
            )
        )
        .with_panel(
            line(
                "GPU memory of the workers",
                "bytes",
                "Current and peak memory use of the GPUs by the workers' models.",
                Query(f"sum by (kind) ({of(Metric.GPU_MEMORY)})", "{{kind}}"),
                width=THIRD,
                nothing="no GPU",
            )
        )
        .with_panel(
            line(
                "Memory",
                "bytes",
                "Memory of each process, including the chief.",
                Query(f"process_resident_memory_bytes{{{STUDY}}}", "{{instance}}"),
                width=THIRD,
            )
        )
        .with_panel(
            line(
                "Last heartbeat",
                "s",
                "Time since the chief last answered a heartbeat. An idle worker sends one per third of a lease.",
                Query(f"time() - {of(Metric.WORKER_BEAT)}", "{{instance}}"),
                width=THIRD,
            )
        )
    )
