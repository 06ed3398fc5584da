"""The processes of a pod, as small programs: what happens if they end, die, hang or run out of memory."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.scrape import get
from tuner import names
from tuner.address import Address
from tuner.errors import EnvironmentFailure, ExitCode, FencedError, InternalError, UsageError
from tuner.local import children, gpu_room, pod_process, pod_workers
from tuner.local.children import DEATHS
from tuner.local.gpu_inventory import GpuInventory, GpuMemoryUse
from tuner.local.gpu_room import MOST, GpuRoom
from tuner.local.pod_process import labelled
from tuner.local.pod_workers import PodWorkers
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor, serving
from tuner.monitoring.log_format import LogFormat
from tuner.monitoring.merged import merged_metrics

SERVER = """
import os, sys, time
from pathlib import Path
from tuner.address import parse_address
from tuner.monitoring.http_server import HttpServer, plain
from http import HTTPStatus
me, folder = os.environ["KERASTUNER_TUNER_ID"], Path(os.environ["FOLDER"])
def healthy(_):
    sick = (folder / f"{me}.sick").exists()
    return plain("the heartbeat is 40 s late", HTTPStatus.SERVICE_UNAVAILABLE) if sick else plain("ok")
def ready(_):
    return plain("ok") if (folder / f"{me}.ready").exists() else plain("the data is being loaded", HTTPStatus(503))
with HttpServer(parse_address(os.environ["CIFAKE_TUNE_HTTP"], "x"), {"/healthz": healthy, "/readyz": ready}):
    (folder / f"{me}.{os.getpid()}").touch()
    print("works", flush=True)
    while not (folder / f"{me}.done").exists():
        time.sleep(0.02)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(children, "POLL_S", 0.02)
    monkeypatch.setattr(pod_workers, "POLL_S", 0.02)
    monkeypatch.setattr(pod_workers, "CHECK_S", 0.1)
    monkeypatch.setattr(pod_process, "FIRST_PAUSE_S", 0.01)
    return tmp_path


def runs(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(pod_workers, "program", lambda _: [sys.executable, "-c", code])


def pod(processes: int) -> PodWorkers:
    return PodWorkers("worker-3", processes, GpuInventory(), LogFormat.TEXT)


def during(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_pod_ends_with_its_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, "import os; open(os.environ['FOLDER'] + '/' + os.environ['KERASTUNER_TUNER_ID'], 'w')")
    pod(3).run(Monitor(Role.WORKER))
    assert sorted(file.name for file in folder.iterdir()) == ["worker-3-0", "worker-3-1", "worker-3-2"]


def test_settings_and_study_reach_the_processes_but_not_the_pods_own_variables(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_SETTING + "NAME", "night")
    monkeypatch.setenv(names.ENV_PROCESSES, "1")
    monkeypatch.setenv(names.ENV_QUIT_URL, "http://localhost/quit")
    code = "import json, os; json.dump(sorted(os.environ), open(os.environ['FOLDER'] + '/variables', 'w'))"
    runs(monkeypatch, code)
    pod(1).run(Monitor(Role.WORKER))
    variables = json.loads((folder / "variables").read_text())
    assert names.ENV_SETTING + "NAME" in variables
    assert not {names.ENV_PROCESSES, names.ENV_QUIT_URL} & set(variables)


def test_a_process_that_dies_is_replaced_and_the_other_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, SERVER)

    def kill_the_first() -> None:
        until(lambda: len(list(folder.glob("worker-3-?.[0-9]*"))) == 2)
        (first,) = folder.glob("worker-3-0.[0-9]*")
        os.kill(int(first.suffix[1:]), 9)
        until(lambda: len(list(folder.glob("worker-3-0.[0-9]*"))) == 2)
        for number in (0, 1):
            (folder / f"worker-3-{number}.done").touch()

    thread = during(kill_the_first)
    pod(2).run(Monitor(Role.WORKER))
    thread.join()
    assert len(list(folder.glob("worker-3-1.[0-9]*"))) == 1


def test_a_process_that_hangs_is_ended_and_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, SERVER)

    def hang() -> None:
        until(lambda: len(list(folder.glob("worker-3-?.[0-9]*"))) == 2)
        time.sleep(0.5)  # so that it has been healthy
        (folder / "worker-3-1.sick").touch()
        until(lambda: len(list(folder.glob("worker-3-1.[0-9]*"))) == 2)
        (folder / "worker-3-1.sick").unlink()
        for number in (0, 1):
            (folder / f"worker-3-{number}.done").touch()

    thread = during(hang)
    pod(2).run(Monitor(Role.WORKER))
    thread.join()
    assert len(list(folder.glob("worker-3-0.[0-9]*"))) == 1


def test_the_pod_is_ready_if_a_process_is_and_says_what_each_one_lacks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, SERVER)
    workers, monitor, answers = pod(2), Monitor(Role.WORKER), []

    def ask(address: Address) -> None:
        until(lambda: len(list(folder.glob("worker-3-?.[0-9]*"))) == 2)
        answers.append(get(str(address), names.HTTP_READY))
        (folder / "worker-3-1.ready").touch()
        answers.append(get(str(address), names.HTTP_READY))
        answers.extend(get(str(address), f"{names.HTTP_READY}/{number}") for number in (0, 1, 7))
        answers.append(get(str(address), names.HTTP_HEALTHY))
        for number in (0, 1):
            (folder / f"worker-3-{number}.done").touch()

    with serving(monitor, {names.ENV_HTTP: "127.0.0.1:0"}) as address:
        assert address is not None
        thread = during(lambda: ask(address))
        workers.run(monitor)
        thread.join()
    assert [answer.status for answer in answers] == [503, 200, 503, 200, 404, 200]
    assert answers[0].text.strip() == ("worker-3-0: the data is being loaded; worker-3-1: the data is being loaded")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ExitCode.USAGE, UsageError),
        (ExitCode.INTERNAL, InternalError),
        (ExitCode.FENCED, FencedError),
        (ExitCode.ENVIRONMENT, EnvironmentFailure),
    ],
)
def test_an_error_of_every_process_ends_the_pod_with_its_last_words(
    code: ExitCode, error: type[Exception], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, f"print('error: the settings are wrong', flush=True); exit({int(code)})")
    workers = pod(2)
    with pytest.raises(error, match="the settings are wrong"):
        workers.run(Monitor(Role.WORKER))
    assert max(child.deaths for child in workers.children) == (DEATHS if code == ExitCode.ENVIRONMENT else 0)


def test_a_process_that_dies_again_and_again_leaves_the_working_one_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = "import os; me = os.environ['KERASTUNER_TUNER_ID']\nif me.endswith('1'):\n"
    dies += "    open(os.environ['FOLDER'] + '/deaths', 'a').write('x')\n    os._exit(3)\n"
    runs(monkeypatch, dies + SERVER)

    def wait() -> None:
        until(lambda: (folder / "deaths").exists() and len((folder / "deaths").read_text()) > 6)
        (folder / "worker-3-0.done").touch()

    thread = during(wait)
    with pytest.raises(EnvironmentFailure, match="worker-3-1 died"):  # nothing but this one is left then
        pod(2).run(Monitor(Role.WORKER))
    thread.join()
    assert len(list(folder.glob("worker-3-0.[0-9]*"))) == 1


def test_a_process_that_failed_at_first_and_works_now_is_not_ended_by_the_deaths_of_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = "import os; me, folder = os.environ['KERASTUNER_TUNER_ID'], os.environ['FOLDER']\n"
    dies += "lives = open(f'{folder}/{me}.lives', 'a')\nlives.write('x')\nlives.close()\n"
    dies += f"at_first = me.endswith('0') and os.path.getsize(lives.name) <= {DEATHS}\n"
    dies += "if at_first or os.path.exists(f'{folder}/{me}.fails'): os._exit(3)\n"
    runs(monkeypatch, dies + SERVER)
    workers = pod(2)

    def lives(number: int) -> int:
        file = folder / f"worker-3-{number}.lives"
        return file.stat().st_size if file.exists() else 0

    def break_the_other() -> None:
        until(lambda: lives(0) > DEATHS and list(folder.glob("worker-3-1.[0-9]*")))
        until(lambda: not workers.children[0].keeps_dying)
        (folder / "worker-3-1.fails").touch()
        (other,) = folder.glob("worker-3-1.[0-9]*")
        os.kill(int(other.suffix[1:]), 9)
        until(lambda: lives(1) > DEATHS + 1)
        (folder / "worker-3-0.done").touch()

    thread = during(break_the_other)
    with pytest.raises(EnvironmentFailure, match="worker-3-1 died"):  # nothing but this one is left then
        workers.run(Monitor(Role.WORKER))
    thread.join()
    assert workers.children[0].exit_code() == 0


def test_each_line_carries_the_name_of_its_process() -> None:
    assert labelled("12:00:01 trial 00001 epoch 2", "worker-0-1", LogFormat.TEXT) == (
        "[worker-0-1] 12:00:01 trial 00001 epoch 2"
    )
    assert labelled('{"time": "now"}', "worker-0-1", LogFormat.JSON) == '{"worker": "worker-0-1", "time": "now"}'
    assert labelled("a library prints", "worker-0-1", LogFormat.JSON) == "[worker-0-1] a library prints"


def test_the_metrics_of_all_processes_are_one_page_with_one_label() -> None:
    text = '# HELP {0} Epochs.\n# TYPE {0} counter\n{0}{{study="s"}} {1}\n'
    name = "cifake_tune_worker_epochs_total"
    merged = merged_metrics({"0": text.format(name, 3), "1": text.format(name, 4)}).body.decode()
    assert merged.count("# TYPE") == 1
    assert f'{name}{{process="0",study="s"}} 3.0' in merged
    assert f'{name}{{process="1",study="s"}} 4.0' in merged


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

    thread = during(finish)
    workers = PodWorkers("worker-3", room, GpuInventory(), LogFormat.TEXT)
    workers.run(Monitor(Role.WORKER))
    thread.join()
    assert [child.leaves for child in workers.children] == [False, True]


TRAINED = """
import os, time
from pathlib import Path
from tuner.address import parse_address
from tuner.monitoring.http_server import HttpServer, plain
me, folder = os.environ["KERASTUNER_TUNER_ID"], Path(os.environ["FOLDER"])
(folder / f"{me}.started").touch()
pages = {"/healthz": lambda _: plain("ok"), "/metrics": lambda _: plain("cifake_tune_worker_epochs_total 5.0")}
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
    workers = PodWorkers("worker-3", room, GpuInventory(), LogFormat.TEXT)

    def finish() -> None:
        until(lambda: len(workers.children) > 1 and workers.children[1].exit_code() == ExitCode.DONE)
        before = len(looks)
        until(lambda: len(looks) > before + 20)  # there was room at each of them
        (folder / "done").touch()

    thread = during(finish)
    workers.run(Monitor(Role.WORKER))
    thread.join()
    assert sorted(file.stem for file in folder.glob("*.started")) == ["worker-3-0", "worker-3-1"]


@pytest.mark.parametrize("hangs", [True, False])
def test_a_hanging_process_that_is_killed_has_not_run_out_of_memory_but_one_killed_by_the_kernel_has(
    hangs: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(monkeypatch, SERVER)
    room = GpuRoom("GPU-0", measure=lambda _: None)
    workers = PodWorkers("worker-3", room, GpuInventory(), LogFormat.TEXT)

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

    thread = during(break_it)
    workers.run(Monitor(Role.WORKER))
    thread.join()
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

    thread = during(leave)
    workers = PodWorkers("worker-3", room, GpuInventory(), LogFormat.TEXT)
    workers.run(Monitor(Role.WORKER))
    thread.join()
    assert seen_early == [False]
    assert [child.exit_code() for child in workers.children] == [0, ExitCode.PREEMPTED]
