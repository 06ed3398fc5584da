"""A trial on several devices: the same losses as on one, and checkpoints for any number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import ROOT
from tests.training.two_devices import BATCH
from tuner.training.activities import Activities
from tuner.training.batches import SeededBatches
from tuner.training.distribution import even_batch_size, even_count, replicas_for

ROUNDING = 1e-4
"""Of float32, over the steps of three epochs."""


def trained(python: Path, folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run `two_devices.py`, and return its epochs."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [python, "-m", "tests.training.two_devices", folder, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={arguments[0]}",
            **{"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
            "KERAS_BACKEND": "tensorflow" if str(python) == sys.executable else "jax",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def replicas(epochs: list[dict[str, Any]]) -> set[int]:
    return {epoch["replicas"] for epoch in epochs}


def assert_equal_but_for_rounding(epochs: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for epoch, other in zip(epochs, expected, strict=True):
        for metric in ("loss", "val_loss"):
            assert epoch[metric] == pytest.approx(other[metric], rel=ROUNDING), (epoch, other)


@pytest.fixture(params=["tensorflow", "jax"])
def python(request: pytest.FixtureRequest) -> Path:
    if request.param == "tensorflow":
        return Path(sys.executable)
    named: Path = request.getfixturevalue("jax_python")
    return named


@pytest.mark.slow
def test_losses_on_two_devices_are_those_on_one_and_an_interrupted_trial_resumes_on_one(
    tmp_path: Path, python: Path
) -> None:
    two = trained(python, tmp_path / "two", "2", "auto", "0", "Small")
    one = trained(python, tmp_path / "one", "1", "auto", "0", "Small")
    assert (replicas(two), replicas(one)) == ({2}, {1})
    assert_equal_but_for_rounding(two, one)

    resumed_on_one = trained(python, tmp_path / "two", "1", "auto", "2", "Small")
    resumed_on_two = trained(python, tmp_path / "one", "2", "auto", "2", "Small")
    assert (replicas(resumed_on_one), replicas(resumed_on_two)) == ({1}, {2})
    assert_equal_but_for_rounding(resumed_on_one, one[2:])
    assert_equal_but_for_rounding(resumed_on_two, one[2:])


@pytest.mark.slow
def test_a_number_of_devices_leaves_the_others_alone(tmp_path: Path, python: Path) -> None:
    assert replicas(trained(python, tmp_path, "2", "1", "0", "Small")) == {1}


@pytest.mark.slow
def test_a_space_that_distributes_itself_is_left_alone(tmp_path: Path, python: Path) -> None:
    assert replicas(trained(python, tmp_path, "2", "1", "0", "OwnDistribution")) == {2}
    assert replicas(trained(python, tmp_path, "2", "auto", "0", "OwnDistribution")) == {2}


@pytest.mark.slow
def test_jax_distributes_also_what_a_spaces_own_fit_trains(tmp_path: Path, jax_python: Path) -> None:
    assert replicas(trained(jax_python, tmp_path, "2", "auto", "0", "OwnFit")) == {2}


def test_one_device_is_used_where_one_is_visible() -> None:
    assert replicas_for("auto", BATCH) == 1
    assert replicas_for(4, BATCH) == 1


def test_more_devices_than_are_visible_are_reported_with_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    replicas_for(7, BATCH)
    assert caplog.messages == [
        "training.devices is 7, but the number of devices that this process sees is 1. Lower training.devices, or give "
        "each worker more GPUs (workers.gpus of the chart, or a smaller --workers of run)"
    ]


@pytest.mark.parametrize(("count", "kept"), [(64, 64), (65, 64), (66, 64), (67, 64), (68, 68), (69, 68), (1, 0)])
def test_no_batch_of_an_epoch_has_unequal_parts_or_parts_of_one_sample(count: int, kept: int) -> None:
    assert even_count(count, BATCH, parts=2) == kept
    assert even_count(count, BATCH, parts=1) == count


def sizes_of_parts(count: int, size: int, parts: int) -> list[int]:
    """Return the sizes of the parts of a full batch and of the last one, as TensorFlow divides batches."""
    batches = [min(count, size), count % size or size]
    return [min(share := -(-batch // parts), batch - share * n) for batch in batches for n in range(parts)]


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("count", [1, 3, 5, 15, 32, 64, 65, 66, 83, 1000, 1001])
def test_all_validation_samples_are_in_batches_whose_parts_are_not_too_small(count: int, parts: int) -> None:
    suitable = [size for size in range(parts, 33, parts) if min(sizes_of_parts(count, size, parts)) >= 2]
    expected = 32 if parts == 1 else max(suitable, default=None)
    assert even_batch_size(count, 32, parts) == expected


@pytest.mark.parametrize(("count", "parts"), [(1, 2), (3, 2), (15, 8), (1, 8)])
def test_too_few_validation_samples_cannot_be_divided(count: int, parts: int) -> None:
    assert even_batch_size(count, 32, parts) is None


class Indices(SeededBatches):
    """Batches of the indices of the samples."""

    def _gather(self, indices: Any) -> Any:
        return list(indices)


def test_samples_that_cannot_be_divided_are_left_out_of_other_epochs() -> None:
    batches = Indices(67, BATCH, Activities(), seed=1, parts=2)
    epochs = []
    for epoch in range(2):
        batches.begin(epoch)
        epochs.append([index for number in range(len(batches)) for index in batches[number]])
    assert [len(set(indices)) for indices in epochs] == [64, 64]
    assert set(epochs[0]) != set(epochs[1])
