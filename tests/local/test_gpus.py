"""Which GPU each process of `run` gets, by its environment variables."""

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuner import names
from tuner.local import gpus as distribution
from tuner.local.crew import Crew
from tuner.local.gpu_inventory import CUDA, HIP, Gpu, GpuInventory
from tuner.local.gpus import (
    UnusedGpus,
    can_use_gpus,
    chief_variables,
    evaluator_variables,
    gpu_problems,
    worker_variables,
    workers_for,
)
from tuner.study.status import WorkerStatus

NO_GPUS = GpuInventory()
MEMORY = {"XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"}


def inventory(count: int, variable: str = CUDA) -> GpuInventory:
    return GpuInventory(tuple(Gpu(f"GPU-{n}", f"GPU {n}", "NVIDIA H200") for n in range(count)), variable)


def tokens(found: GpuInventory, workers: int) -> list[str]:
    return [worker_variables(found, index, workers, {})[found.variable] for index in range(workers)]


def test_the_gpus_are_used_in_turn_by_as_many_or_more_workers() -> None:
    assert tokens(inventory(4), 4) == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    assert tokens(inventory(2), 5) == ["GPU-0", "GPU-1", "GPU-0", "GPU-1", "GPU-0"]
    assert tokens(inventory(2, HIP), 2) == ["GPU-0", "GPU-1"]


def test_fewer_workers_than_gpus_get_several_each() -> None:
    assert tokens(inventory(4), 1) == ["GPU-0,GPU-1,GPU-2,GPU-3"]
    assert tokens(inventory(4), 2) == ["GPU-0,GPU-2", "GPU-1,GPU-3"]
    assert tokens(inventory(4, HIP), 3) == ["GPU-0,GPU-3", "GPU-1", "GPU-2"]
    variables = worker_variables(inventory(4), 1, 2, {})
    assert variables == {CUDA: "GPU-1,GPU-3", names.ENV_GPU: "GPU 1, GPU 3", names.ENV_GPUS: "2"}


def test_a_worker_gets_a_single_mig_slice_because_cuda_uses_only_one() -> None:
    slices = GpuInventory(tuple(Gpu(f"MIG-{n}", f"GPU 0 MIG {n}", "NVIDIA A100 MIG 1g.5gb") for n in range(7)))
    assert tokens(slices, 2) == ["MIG-0", "MIG-1"]
    assert Crew(2, slices, 1).describe() == "2 workers on 2 of 7 GPUs (NVIDIA A100 MIG 1g.5gb)"


def test_the_first_line_of_a_run_counts_the_gpus_that_are_used() -> None:
    assert Crew(1, inventory(4), 1).describe() == "1 worker on 4 GPUs (NVIDIA H200)"
    assert Crew(3, inventory(4), 1).describe() == "3 workers on 4 GPUs (NVIDIA H200)"
    assert Crew(5, inventory(1), 1).describe() == "5 workers on 1 GPU (NVIDIA H200)"
    assert Crew(2, NO_GPUS, 1).describe() == "2 workers"


def test_a_worker_is_told_which_gpu_it_has_and_that_it_must_find_one() -> None:
    variables = worker_variables(inventory(2), 1, 2, {})
    assert variables == {CUDA: "GPU-1", names.ENV_GPU: "GPU 1", names.ENV_GPUS: "1"}


def test_workers_that_share_a_gpu_get_equal_shares_of_its_memory_as_they_need_it() -> None:
    fractions = [
        worker_variables(inventory(2), index, 5, {})["XLA_PYTHON_CLIENT_MEM_FRACTION"] for index in range(5)
    ]  # three workers on the first GPU, two on the second
    assert fractions == ["0.3000", "0.4500", "0.3000", "0.4500", "0.3000"]
    shared = worker_variables(inventory(1), 0, 2, {})
    assert (shared["XLA_PYTHON_CLIENT_PREALLOCATE"], shared["TF_FORCE_GPU_ALLOW_GROWTH"]) == ("false", "true")


def test_a_worker_that_has_a_gpu_of_its_own_keeps_the_backends_memory_settings() -> None:
    assert not MEMORY & worker_variables(inventory(2), 0, 2, {}).keys()
    assert not MEMORY & worker_variables(inventory(2), 1, 3, {}).keys()


@pytest.mark.parametrize("name", sorted(MEMORY))
def test_a_variable_of_the_memory_that_the_user_has_set_is_not_replaced(name: str) -> None:
    variables = worker_variables(inventory(1), 0, 2, {name: "0.7"})
    assert MEMORY - variables.keys() == {name}


def test_jax_never_gets_both_names_of_the_memory_fraction() -> None:
    variables = worker_variables(inventory(1), 0, 2, {"XLA_CLIENT_MEM_FRACTION": ".3"})
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in variables


def test_the_chief_gets_no_gpu_and_the_evaluator_gets_one() -> None:
    assert chief_variables(inventory(2)) == {CUDA: "-1", "JAX_PLATFORMS": "cpu"}
    assert evaluator_variables(inventory(2)) == {CUDA: "GPU-0", names.ENV_GPU: "GPU 0"}
    assert evaluator_variables(inventory(2, HIP))[HIP] == "GPU-0"


def test_without_gpus_no_variable_is_set() -> None:
    assert worker_variables(NO_GPUS, 0, 2, {}) == chief_variables(NO_GPUS) == evaluator_variables(NO_GPUS) == {}


def test_auto_is_one_worker_for_each_gpu_that_the_backend_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "can_use_gpus", lambda backend: backend == "jax")
    assert workers_for(inventory(4), "jax") == 4
    assert workers_for(inventory(4), "tensorflow") == 1
    assert workers_for(NO_GPUS, "jax") == 1


@pytest.mark.parametrize(
    ("installed", "can"),
    [(["tensorflow-cpu"], False), (["tensorflow"], True), (["tensorflow_cpu", "Keras"], False)],
)
def test_tensorflow_for_cpus_has_no_code_for_gpus(
    installed: list[str], can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [SimpleNamespace(metadata={"Name": name}) for name in installed]
    monkeypatch.setattr(distribution, "distributions", lambda: parts)
    assert can_use_gpus("tensorflow") is can


def test_jax_has_code_for_gpus_if_one_of_its_plugins_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(part.metadata["Name"].startswith("jax-cuda") for part in metadata.distributions()):
        pytest.skip("a plugin of JAX is installed here")
    assert not can_use_gpus("jax")
    (tmp_path / "jax_cuda12_plugin").mkdir()
    (tmp_path / "jax_cuda12_plugin" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert can_use_gpus("jax")


def test_gpus_that_will_not_be_used_are_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "can_use_gpus", lambda _: False)
    (line,) = gpu_problems(inventory(4), "tensorflow", is_auto=True)
    assert line.startswith("this machine has 4 GPUs, but the installed tensorflow has no code for GPUs, so one worker")
    (line,) = gpu_problems(GpuInventory(problem="the driver is broken"), "jax", is_auto=False)
    assert line.startswith("the driver is broken. ")
    assert list(gpu_problems(NO_GPUS, "jax", is_auto=True)) == []


def test_a_lost_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "can_use_gpus", lambda _: True)
    found = GpuInventory(inventory(3).gpus, lost=("GPU 3 (GPU is lost)",))
    assert list(gpu_problems(found, "jax", is_auto=True)) == [
        "NVIDIA's driver cannot reach GPU 3 (GPU is lost), so no worker gets it; check nvidia-smi."
    ]


def status(worker: str, gpus: int | None) -> WorkerStatus:
    return WorkerStatus(
        worker=worker, trial=None, attempt=0, epoch=0, progress=0, images_per_s=0, silent_s=0, gpus=gpus
    )


def test_a_worker_that_does_not_find_its_gpu_is_reported_once() -> None:
    unused = UnusedGpus(inventory(2))
    assert unused.lines([status("worker-0", None), status("worker-1", 1)]) == []
    (line,) = unused.lines([status("worker-0", 0), status("worker-1", 1)])
    assert line.startswith("worker-0 was given a GPU and finds none, so it trains on the CPU.")
    assert unused.lines([status("worker-0", 0)]) == []
    assert UnusedGpus(NO_GPUS).lines([status("worker-0", 0)]) == []
