"""The processes of a pod, as small programs: what happens if they end, die or hang."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.local.pods import SERVER, during, pod, runs, until
from tests.support.scrape import get
from tuner import names
from tuner.address import Address
from tuner.errors import EnvironmentFailure, ExitCode, FencedError, InternalError, UsageError
from tuner.local.children import DEATHS
from tuner.local.pod_process import labelled
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor, serving
from tuner.monitoring.log_format import LogFormat
from tuner.monitoring.merged import merged_metrics


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

    with during(kill_the_first):
        pod(2).run(Monitor(Role.WORKER))
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

    with during(hang):
        pod(2).run(Monitor(Role.WORKER))
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
        with during(lambda: ask(address)):
            workers.run(monitor)
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

    with during(wait), pytest.raises(EnvironmentFailure, match="worker-3-1 died"):  # nothing but this one is left then
        pod(2).run(Monitor(Role.WORKER))
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

    with (
        during(break_the_other),
        pytest.raises(EnvironmentFailure, match="worker-3-1 died"),
    ):  # nothing but this one is left then
        workers.run(Monitor(Role.WORKER))
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
