"""A worker's time by activity, and its counters of epochs and images."""

import threading
import time

import pytest
from prometheus_client import CollectorRegistry

from tuner.monitoring.metric_names import Metric
from tuner.training.activities import Activities, Activity
from tuner.training.devices import GpuMemory
from tuner.worker.metrics import WorkerMetrics, gpu_metrics


def spent(activities: Activities) -> dict[Activity, float]:
    return {activity: seconds for activity, seconds in activities.seconds().items() if seconds > 0.001}


def test_an_activity_within_another_interrupts_it() -> None:
    activities = Activities()
    with activities.during(Activity.TRAIN):
        time.sleep(0.02)
        with activities.during(Activity.CHECKPOINT):
            time.sleep(0.05)
        time.sleep(0.02)
    seconds = spent(activities)
    assert set(seconds) == {Activity.TRAIN, Activity.CHECKPOINT}
    assert seconds[Activity.CHECKPOINT] >= 0.05
    assert seconds[Activity.TRAIN] >= 0.04


def test_what_is_under_way_counts_at_a_scrape() -> None:
    activities = Activities()
    with activities.during(Activity.WAIT):
        time.sleep(0.02)
        assert activities.seconds()[Activity.WAIT] >= 0.02
    after = activities.seconds()[Activity.WAIT]
    time.sleep(0.02)
    assert activities.seconds()[Activity.WAIT] == after


def test_an_activity_that_ends_with_an_error_is_over() -> None:
    activities = Activities()
    with pytest.raises(RuntimeError), activities.during(Activity.PREPARE), activities.during(Activity.TRAIN):
        raise RuntimeError
    seconds = activities.seconds()
    time.sleep(0.01)
    assert activities.seconds() == seconds


def test_input_that_is_made_in_another_thread_runs_beside_the_training() -> None:
    activities = Activities()

    def make_batches() -> None:
        with activities.during(Activity.INPUT):
            time.sleep(0.05)

    with activities.during(Activity.TRAIN):
        thread = threading.Thread(target=make_batches)
        thread.start()
        thread.join()
    seconds = spent(activities)
    assert seconds[Activity.INPUT] >= 0.05
    assert seconds[Activity.TRAIN] >= 0.05


def test_images_are_counted_as_an_epoch_goes_on_and_once() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    for share in (0.0, 0.25, 0.75):
        metrics.progress(share, 1000)
    assert registry.get_sample_value(Metric.WORKER_IMAGES) == 750
    metrics.epoch(1000)
    metrics.progress(0.0, 1000)
    metrics.epoch(1000)
    assert registry.get_sample_value(Metric.WORKER_IMAGES) == 2000
    assert registry.get_sample_value(Metric.WORKER_EPOCHS) == 2


def test_gpus_that_are_missing_are_told_and_of_those_that_are_there_the_memory() -> None:
    samples = {metric.name: metric.samples for metric in gpu_metrics(1, 2, {"0": GpuMemory(used=5, peak=7)})}
    assert [sample.value for sample in samples[Metric.GPUS_MISSING]] == [1]
    memory = {sample.labels["kind"]: sample.value for sample in samples[Metric.GPU_MEMORY]}
    assert memory == {"used": 5, "peak": 7}
    none_requested = {metric.name: metric.samples for metric in gpu_metrics(1, 0, {})}
    assert [sample.value for sample in none_requested[Metric.GPUS_MISSING]] == [0]


def test_a_gpu_that_does_not_tell_its_memory_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow

    from tuner.training import devices

    monkeypatch.setattr(tensorflow.config, "list_logical_devices", lambda kind: [object()])
    assert devices.memory() == {}  # this process has no such device, and TensorFlow says so
