"""What a worker reports of its GPUs, as the real nvidia-ml-py reads it from a driver that a test controls."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.nvidia_driver import nvidia_driver
from tuner.nvidia import GpuUsage
from tuner.worker.metrics import gpu_usage_metrics

READ = """
import dataclasses, json, os, pathlib, sys
from tuner.worker.gpu_usage import GpuUsageReader
reader = GpuUsageReader(os.environ)
for line in sys.stdin:
    if "NVIDIA_READINGS" in os.environ:
        pathlib.Path(os.environ["NVIDIA_READINGS"]).write_text(json.loads(line))
    print(json.dumps({name: dataclasses.astuple(usage) for name, usage in reader.read().items()}), flush=True)
"""
"""Reads the usage once for each line of stdin, which is the new content of the driver's file."""
GIB = 2**30


def read(environment: dict[str, str], *readings: str) -> list[dict[str, Any]]:
    """Return what one process reads after each change of the driver's readings, by the name of the GPU."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, **environment},
        input="".join(json.dumps(text) + "\n" for text in readings or [""]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_utilization_memory_and_power_are_read_at_each_call(tmp_path: Path) -> None:
    driver = nvidia_driver(tmp_path / "driver", "HH", tmp_path / "readings")
    first = f"50 {GIB} {80 * GIB} 300500\n0 0 {80 * GIB} 75000\n"
    second = f"100 {2 * GIB} {80 * GIB} 650000\n3 0 {80 * GIB} 80000\n"
    assert read(driver, first, second) == [
        {"0": [0.5, GIB, 80 * GIB, 300.5], "1": [0.0, 0, 80 * GIB, 75.0]},
        {"0": [1.0, 2 * GIB, 80 * GIB, 650.0], "1": [0.03, 0, 80 * GIB, 80.0]},
    ]


@pytest.mark.parametrize(
    ("visible", "utilizations"),
    [
        ("1", {"1": 0.2}),
        ("2,0", {"2": 0.3, "0": 0.1}),
        ("GPU-10000000-aaaa", {"1": 0.2}),
        ("GPU-2", {"2": 0.3}),  # CUDA accepts the unique start of a UUID
        ("", {}),
        ("-1", {}),
        ("0,7,1", {"0": 0.1}),  # CUDA ignores what follows an invalid entry
        ("1,1,0", {"1": 0.2}),
    ],
)
def test_only_the_gpus_that_the_process_sees_are_reported_by_the_numbers_that_other_processes_use(
    tmp_path: Path, visible: str, utilizations: dict[str, float]
) -> None:
    driver = nvidia_driver(tmp_path / "driver", "HHH", tmp_path / "readings")
    lines = "".join(f"{percent} 0 1 0\n" for percent in (10, 20, 30))
    (usage,) = read(driver | {"CUDA_VISIBLE_DEVICES": visible}, lines)
    assert {name: values[0] for name, values in usage.items()} == utilizations


def test_of_a_part_of_a_gpu_the_memory_is_reported_and_no_utilization_of_others(tmp_path: Path) -> None:
    driver = nvidia_driver(tmp_path / "driver", "M101", tmp_path / "readings")
    part = [None, 1000, 10000, None]
    readings = "50 8000 80000 300000\n"
    assert read(driver, readings) == [{"0 MIG 0": part, "0 MIG 2": part}]
    assert read(driver | {"CUDA_VISIBLE_DEVICES": "MIG-02000000-bbbb"}, readings) == [{"0 MIG 2": part}]


def test_a_gpu_that_is_lost_has_no_values_and_the_others_keep_theirs(tmp_path: Path) -> None:
    driver = nvidia_driver(tmp_path / "driver", "HH", tmp_path / "readings")
    assert read(driver, "lost\n70 1 2 3000\n") == [{"0": [None] * 4, "1": [0.7, 1, 2, 3.0]}]
    assert read(driver, "-1 1 2 -1\n0 1 2 0\n")[0]["0"] == [None, 1, 2, None]


def test_a_gpu_that_is_lost_from_the_start_does_not_hide_the_others(tmp_path: Path) -> None:
    driver = nvidia_driver(tmp_path / "driver", "LH", tmp_path / "readings")
    assert read(driver, "lost\n70 1 2 3000\n") == [{"1": [0.7, 1, 2, 3.0]}]


def test_of_a_number_nothing_is_reported_if_cuda_may_count_in_another_order(tmp_path: Path) -> None:
    driver = nvidia_driver(tmp_path / "driver", "AH", tmp_path / "readings") | {"CUDA_VISIBLE_DEVICES": "1"}
    assert read(driver, "10 1 2 3000\n70 1 2 3000\n") == [{}]
    driver["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    assert read(driver, "10 1 2 3000\n70 1 2 3000\n") == [{"1": [0.7, 1, 2, 3.0]}]


def test_a_framework_s_gpu_has_the_name_by_which_the_driver_reports_it(tmp_path: Path) -> None:
    code = (
        "import os; from tuner.worker.gpu_usage import GpuUsageReader; "
        "print(*map(GpuUsageReader(os.environ).name, (0, 5)))"
    )
    driver = nvidia_driver(tmp_path / "driver", "HHH", tmp_path / "readings")
    for environment, expected in ({"CUDA_VISIBLE_DEVICES": "2,0"} | driver, "2 5\n"), ({}, "0 5\n"):
        names = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **environment}, text=True)
        assert names == expected


@pytest.mark.parametrize("gpus", ["", "!", "?"], ids=["no GPU", "another version", "not loaded"])
def test_there_are_no_gpus_and_no_error_without_a_driver_that_works(tmp_path: Path, gpus: str) -> None:
    assert read({}) == [{}]
    assert read(nvidia_driver(tmp_path / "driver", gpus)) == [{}]


def test_values_that_the_driver_does_not_report_are_absent() -> None:
    usage = {"0": GpuUsage(0.25, 5, 10, 99.5), "1": GpuUsage(memory_used=1, memory_total=2)}
    samples = [
        (metric.name, tuple(sample.labels.values()), sample.value)
        for metric in gpu_usage_metrics(usage)
        for sample in metric.samples
    ]
    assert sorted(samples) == [
        ("cifake_tune_worker_gpu_device_memory_bytes", ("0", "total"), 10),
        ("cifake_tune_worker_gpu_device_memory_bytes", ("0", "used"), 5),
        ("cifake_tune_worker_gpu_device_memory_bytes", ("1", "total"), 2),
        ("cifake_tune_worker_gpu_device_memory_bytes", ("1", "used"), 1),
        ("cifake_tune_worker_gpu_power_watts", ("0",), 99.5),
        ("cifake_tune_worker_gpu_utilization_ratio", ("0",), 0.25),
    ]
