"""The GPUs that `run` may use: those of a driver (a stand-in that the real nvidia-ml-py loads) that the user allows."""

import json
import os
from pathlib import Path

import pytest

from tests.support.children import output_of
from tests.support.nvidia_driver import nvidia_driver
from tuner.local.gpu_inventory import GpuMemoryUse, find_gpus

LIST = """
import json, os
from tuner.local.gpu_inventory import find_gpus
found = find_gpus(os.environ)
print(json.dumps([found.variable, found.problem, [[gpu.token, gpu.label, gpu.kind] for gpu in found.gpus]]))
"""
VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that lists the GPUs of a machine in a process of its own."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(gpus: str, **environment: str) -> tuple[str, str, list[list[str]]]:
        for name, value in (nvidia_driver(tmp_path / "driver", gpus) | environment).items():
            monkeypatch.setenv(name, value)
        variable, problem, found = json.loads(output_of(LIST))
        return variable, problem, found

    return run


def test_all_gpus_of_the_machine_are_listed_by_their_uuids(listed) -> None:
    assert listed("HA") == (
        "CUDA_VISIBLE_DEVICES",
        "",
        [["GPU-00000000-aaaa", "GPU 0", "NVIDIA H200"], ["GPU-10000000-aaaa", "GPU 1", "NVIDIA A100"]],
    )


def test_a_gpu_with_mig_is_listed_by_its_slices_only(listed) -> None:
    assert listed("HM101")[2] == [
        ["GPU-00000000-aaaa", "GPU 0", "NVIDIA H200"],
        ["MIG-10000000-bbbb", "GPU 1 MIG 0", "NVIDIA A100 MIG 1g.5gb"],
        ["MIG-12000000-bbbb", "GPU 1 MIG 2", "NVIDIA A100 MIG 1g.5gb"],
    ]
    assert listed("M")[2] == []  # MIG is on, and no slice has been made


@pytest.mark.parametrize(
    ("chosen", "tokens"),
    [
        ("1,0", ["1", "0"]),
        ("2", ["2"]),
        (" 0 , 2 ", ["0", "2"]),
        ("1,-1,0", ["1"]),
        ("0,9,1", ["0"]),
        ("0,0", ["0"]),
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
        ("GPU-1,GPU-00000000-aaaa", ["GPU-1", "GPU-00000000-aaaa"]),
        ("GPU-", []),  # the start of several UUIDs
        ("MIG-30,1", ["MIG-30", "1"]),
        ("MIG-GPU-30000000-aaaa/1/0", ["MIG-GPU-30000000-aaaa/1/0"]),
        ("MIG-GPU-99999999/1/0", []),
    ],
)
def test_the_users_cuda_visible_devices_limits_the_gpus_as_cuda_reads_it(
    listed, chosen: str, tokens: list[str]
) -> None:
    assert [token for token, *_ in listed("HHHM11", CUDA_VISIBLE_DEVICES=chosen)[2]] == tokens


def test_a_number_names_no_model_if_cuda_may_count_in_another_order(listed) -> None:
    assert listed("AH", CUDA_VISIBLE_DEVICES="0")[2] == [["0", "GPU 0", ""]]
    assert listed("AH", CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")[2] == [["0", "GPU 0", "NVIDIA A100"]]


def test_a_driver_that_cannot_list_its_gpus_is_reported(listed) -> None:
    variable, problem, found = listed("!")
    assert (variable, found) == ("CUDA_VISIBLE_DEVICES", [])
    assert problem.startswith("NVIDIA's driver cannot list the GPUs: ")
    assert problem.endswith("version mismatch")


def test_a_lost_gpu_is_left_out_and_does_not_hide_the_others(listed) -> None:
    others = [["GPU-00000000-aaaa", "GPU 0", "NVIDIA H200"], ["GPU-20000000-aaaa", "GPU 2", "NVIDIA H200"]]
    assert listed("HLH") == ("CUDA_VISIBLE_DEVICES", "", others)
    lost = "import os; from tuner.local.gpu_inventory import find_gpus; print(find_gpus(os.environ).lost)"
    assert output_of(lost).strip() == "('GPU 1 (GPU is lost)',)"
    assert listed("HLH", CUDA_VISIBLE_DEVICES="0,1,2")[2] == others  # CUDA may give the last one another number
    assert listed("L", CUDA_VISIBLE_DEVICES="0")[2] == []


def test_other_makers_gpus_are_found_if_nvidias_driver_is_installed_and_not_loaded(listed) -> None:
    assert listed("?")[:2] == ("HIP_VISIBLE_DEVICES", "")


def test_the_memory_of_a_gpu_is_measured_by_its_uuid_or_number(listed, tmp_path: Path) -> None:
    listed("HHH")
    code = "from tuner.local.gpu_inventory import memory_of; print([memory_of(gpu) for gpu in {}])"
    gpus = ["GPU-20000000-aaaa", "1", "GPU-90000000-aaaa", "7", ""]
    measured = output_of(code.format(gpus)).strip()
    total = 141 * 10**9
    assert measured == str([GpuMemoryUse(2 * 10**9, total), GpuMemoryUse(10**9, total), None, None, None])


def amd(folder: Path, *simd_counts: int, inaccessible: int = -1) -> tuple[Path, Path]:
    """Write what AMD's driver shows of processors (no SIMD units) and GPUs. A device may be missing in a container."""
    nodes, devices = folder / "nodes", folder / "dri"
    devices.mkdir()
    for number, count in enumerate(simd_counts):
        (nodes / str(number)).mkdir(parents=True)
        lines = f"cpu_cores_count 8\nsimd_count {count}\ndrm_render_minor {128 + number if count else 0}\n"
        (nodes / str(number) / "properties").write_text(lines)
        if count and number != inaccessible:
            (devices / f"renderD{128 + number}").touch()
    return nodes, devices


def test_amds_gpus_are_counted_without_processors_and_devices_of_others(tmp_path: Path) -> None:
    found = find_gpus({}, *amd(tmp_path, 0, 304, 304, 304, inaccessible=2))
    assert found.variable == "HIP_VISIBLE_DEVICES"
    assert [(gpu.token, gpu.label) for gpu in found.gpus] == [("0", "GPU 0"), ("1", "GPU 1")]


@pytest.mark.parametrize(
    ("environment", "tokens"),
    [
        ({"HIP_VISIBLE_DEVICES": "2,1"}, ["2", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "2"}, ["2"]),
        ({"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "2"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "0,5,1"}, ["0"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2"}, ["0", "1"]),
        ({"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1,2"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_amds_variables_limit_the_gpus(tmp_path: Path, environment: dict[str, str], tokens: list[str]) -> None:
    assert [gpu.token for gpu in find_gpus(environment, *amd(tmp_path, 0, 304, 304, 304)).gpus] == tokens


def test_a_machine_without_a_driver_has_no_gpus(tmp_path: Path) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has NVIDIA's driver")
    assert find_gpus(os.environ, tmp_path, tmp_path).gpus == ()
