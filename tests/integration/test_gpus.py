"""`run` on a machine with two GPUs, as its driver describes it: a stand-in that the real nvidia-ml-py loads."""

import json
import time
import urllib.request
from pathlib import Path

from tests.integration.support import Command, Place, settings, space
from tests.support.nvidia_driver import nvidia_driver
from tuner import names

VARIABLES = ("CUDA_VISIBLE_DEVICES", "CIFAKE_TUNE_GPU", "XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_FORCE_GPU_ALLOW_GROWTH")


def environments(place: Place, role: str) -> dict[str, dict[str, str]]:
    """Return the variables of the GPUs of the processes in a role, by the process's name."""
    found = {}
    for process in place.processes(role):
        try:
            text = Path(f"/proc/{process}/environ").read_text()
        except OSError:  # it has just ended
            continue
        variables = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
        found[variables.get(names.ENV_TUNER_ID, role)] = {
            name: variables[name] for name in VARIABLES if name in variables
        }
    return found


def overview(command: Command) -> dict:
    """Return what the live page shows."""
    address = command.printed().partition("Live page: ")[2].split()[0]
    with urllib.request.urlopen(f"{address}overview.json", timeout=30) as answer:
        return json.load(answer)


def test_workers_share_the_gpus_the_chief_gets_none_and_the_evaluator_one(place: Place, two_colours: str) -> None:
    place.environment.pop("CUDA_VISIBLE_DEVICES")
    driver = nvidia_driver(place.folder / "driver", "HM01")
    hold = place.gate / "hold-0"
    hold.touch()
    study = settings(search__max_trials=3, training__epochs=1, evaluation__robustness_images=0)
    command = place.start("run", "--data", two_colours, "--workers", "3", *study, *space("GatedGrid"), **driver)
    place.wait_for(lambda state: len(state.trials) == 3, "three trials", command)
    shared = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4500", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    first = {"CUDA_VISIBLE_DEVICES": "GPU-00000000-aaaa", "CIFAKE_TUNE_GPU": "GPU 0"}
    assert environments(place, "worker") == {
        "worker-0": first | shared,
        "worker-1": {"CUDA_VISIBLE_DEVICES": "MIG-11000000-bbbb", "CIFAKE_TUNE_GPU": "GPU 1 MIG 1"},
        "worker-2": first | shared,
    }
    assert environments(place, "chief") == {"chief": {"CUDA_VISIBLE_DEVICES": "-1"}}
    deadline = time.monotonic() + 60
    while [worker["device"] for worker in overview(command)["workers"]] != ["CPU"] * 3:  # what they really train on
        assert time.monotonic() < deadline, overview(command)
    hold.unlink()
    evaluators: dict[str, dict[str, str]] = {}
    while command.process.poll() is None:
        evaluators |= environments(place, "evaluate")
    done = command.wait()
    assert done.code == 0, done.err
    assert evaluators == {"evaluate": first}
    assert "3 workers on 2 GPUs (NVIDIA H200, NVIDIA A100 MIG 1g.5gb)" in done.output
    assert done.output.count("worker-2 was given a GPU and finds none, so it trains on the CPU.") == 1
    assert "1 GPU requested, but" in place.logs()
