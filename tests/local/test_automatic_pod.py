"""A pod that decides by the GPU's memory how many processes it runs (`perGPU: auto`)."""

import os
import time
from pathlib import Path

import pytest

from tests.local.pods import SERVER, during, pod, runs, until
from tuner.errors import ExitCode
from tuner.local import gpu_room
from tuner.local.gpu_inventory import GpuMemoryUse
from tuner.local.gpu_room import MOST, GpuRoom
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor


def texts(*epochs: int, errors: int = 0) -> dict[str, str]:
    page = "cifake_tune_worker_epochs_total {0}\ncifake_tune_worker_out_of_memory_total {1}\n"
    return {str(number): page.format(count, errors if number == 0 else 0) for number, count in enumerate(epochs)}


def test_processes_are_added_while_the_measured_memory_allows_it() -> None:
    used = {"GPU-0": GpuMemoryUse(20, 100)}
    room = GpuRoom("GPU-0", measure=used.get)
    assert room.decide(1, texts(0)) == 1  # its first epoch may need more
    assert room.decide(1, texts(1)) == 2
    used["GPU-0"] = GpuMemoryUse(60, 100)
    assert room.decide(2, texts(5, 0)) == 2
    assert room.decide(2, texts(5, 1)) == 3
    used["GPU-0"] = GpuMemoryUse(75, 100)
    assert room.decide(3, texts(5, 5, 5)) == 3


def test_without_a_measurement_there_is_one_process_and_never_more_than_the_most() -> None:
    assert GpuRoom("GPU-0", measure=lambda _: None).decide(1, texts(9)) == 1
    assert GpuRoom("GPU-0", measure=lambda _: GpuMemoryUse(1, 100)).decide(MOST, texts(*[9] * MOST)) == MOST


def test_after_an_out_of_memory_error_the_newest_process_leaves_and_none_is_added_again() -> None:
    room = GpuRoom("GPU-0", measure=lambda _: GpuMemoryUse(1, 100))
    assert room.decide(3, texts(1, 1, 1)) == 4
    assert room.decide(4, texts(1, 1, 1, 1, errors=1)) == 3
    assert room.decide(3, texts(2, 2, 2, errors=1)) == 3
    assert room.decide(3, texts(9, 9, 9, errors=2)) == 2
    assert room.decide(1, texts(9, errors=3)) == 1


def test_a_process_of_an_automatic_pod_is_added_and_leaves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, SERVER)
    decisions = iter([2, 1])
    room = GpuRoom("GPU-0")
    monkeypatch.setattr(room, "wanted", lambda running, _: next(decisions, running))

    def finish() -> None:
        until(lambda: len(list(folder.glob("worker-3-?.[0-9]*"))) >= 1)
        (folder / "worker-3-0.done").touch()

    workers = pod(room)
    with during(finish):
        workers.run(Monitor(Role.WORKER))
    assert [child.leaves for child in workers.children] == [False, True]


TRAINED = """
import os, time
from pathlib import Path
from tuner.address import parse_address
from tuner.monitoring.http_server import HttpServer, plain
me, folder = os.environ["KERASTUNER_TUNER_ID"], Path(os.environ["FOLDER"])
(folder / f"{me}.started").touch()
epochs = 5.0 if me.endswith("-0") else 0.0  # the other processes find no trial
metrics = f"cifake_tune_worker_epochs_total {epochs}"
pages = {"/healthz": lambda _: plain("ok"), "/metrics": lambda _: plain(metrics)}
with HttpServer(parse_address(os.environ["CIFAKE_TUNE_HTTP"], "x"), pages):
    while me.endswith("-0") and not (folder / "done").exists():
        time.sleep(0.02)
"""


def test_an_automatic_pod_adds_no_process_once_one_has_found_no_trial_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, TRAINED)
    monkeypatch.setattr(gpu_room, "LOOK_S", 0.02)
    looks: list[str] = []

    def measure(token: str) -> GpuMemoryUse:
        looks.append(token)
        return GpuMemoryUse(10, 100)

    room = GpuRoom("GPU-0", measure=measure)
    workers = pod(room)

    def finish() -> None:
        until(lambda: len(workers.children) > 1 and workers.children[1].exit_code() == ExitCode.DONE)
        before = len(looks)
        until(lambda: len(looks) > before + 20)  # there was room at each of them
        (folder / "done").touch()

    with during(finish):
        workers.run(Monitor(Role.WORKER))
    assert sorted(file.stem for file in folder.glob("*.started")) == ["worker-3-0", "worker-3-1"]


@pytest.mark.parametrize("hangs", [True, False])
def test_a_hanging_process_that_is_killed_has_not_run_out_of_memory_but_one_killed_by_the_kernel_has(
    hangs: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, SERVER)
    room = GpuRoom("GPU-0", measure=lambda _: None)
    workers = pod(room)

    def break_it() -> None:
        until(lambda: list(folder.glob("worker-3-0.[0-9]*")))
        if hangs:
            time.sleep(0.5)  # so that it has been healthy
            (folder / "worker-3-0.sick").touch()
        else:
            (first,) = folder.glob("worker-3-0.[0-9]*")
            os.kill(int(first.suffix[1:]), 9)
        until(lambda: len(list(folder.glob("worker-3-0.[0-9]*"))) == 2)
        (folder / "worker-3-0.sick").unlink(missing_ok=True)
        (folder / "worker-3-0.done").touch()

    with during(break_it):
        workers.run(Monitor(Role.WORKER))
    assert room.most == (MOST if hangs else 1)


COUNTS = """
import os, signal, time
from pathlib import Path
me, folder = os.environ["KERASTUNER_TUNER_ID"], Path(os.environ["FOLDER"])
if me.endswith("-1"):
    signal.signal(signal.SIGTERM, lambda *_: (folder / "asked").touch())  # it still uses memory then
    (folder / "started").touch()
    while not (folder / "left").exists():
        time.sleep(0.02)
    os._exit(143)
seen = []
while seen != [1, 2, 1]:
    number = int(Path(os.environ["CIFAKE_TUNE_SHARING"]).read_text())
    if seen[-1:] != [number]:
        seen.append(number)
        (folder / f"seen-{len(seen)}-{number}").touch()
    time.sleep(0.02)
"""


def test_processes_of_an_automatic_pod_know_how_many_use_the_memory_until_they_have_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, COUNTS)
    room = GpuRoom("GPU-0")

    def wanted(running: int, _: object) -> int:
        if (folder / "seen-2-2").exists() and (folder / "started").exists():
            return 1
        return 2 if (folder / "seen-1-1").exists() else running

    monkeypatch.setattr(room, "wanted", wanted)
    seen_early: list[bool] = []

    def leave() -> None:
        until((folder / "asked").exists)
        seen_early.append((folder / "seen-3-1").exists())
        (folder / "left").touch()

    workers = pod(room)
    with during(leave):
        workers.run(Monitor(Role.WORKER))
    assert seen_early == [False]
    assert [child.exit_code() for child in workers.children] == [0, ExitCode.PREEMPTED]
