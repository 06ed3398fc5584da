"""Child processes of a run: when they are restarted, and what they inherit."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tuner import names
from tuner.address import Address
from tuner.errors import EnvironmentFailure
from tuner.local.children import DEATHS, Child, page_variables, recall, reset_deaths, share_of_cores, stop_all
from tuner.names import TrialId
from tuner.study.records import Leased


def child(folder: Path, code: str, name: str = "worker-0") -> Child:
    return Child(name, [sys.executable, "-c", code], {}, folder / f"{name}.log")


def run(one: Child) -> int:
    one.start()
    assert one.process is not None
    return one.process.wait(30)


def leased(worker: str) -> Leased:
    return Leased(at=0, trial=TrialId("00000"), attempt=1, worker=worker, incarnation="i")


def test_a_child_that_dies_before_it_works_is_given_up_with_its_last_words_and_how_it_died(tmp_path: Path) -> None:
    one = child(tmp_path, "import os; print('so much memory', flush=True); os.kill(os.getpid(), 9)")
    assert run(one) == -9
    for _ in range(DEATHS - 1):
        one.restart()
        assert one.process is not None
        one.process.wait(30)
    with pytest.raises(EnvironmentFailure, match=r"worker-0 died 5 times .* by signal 9\. .*so much memory"):
        one.restart()


def test_a_worker_that_took_a_trial_may_die_as_often_as_the_trials_budget_allows(tmp_path: Path) -> None:
    chief, one, other = (child(tmp_path, "", name) for name in ("chief", "worker-0", "worker-1"))
    chief.deaths = one.deaths = other.deaths = DEATHS - 1
    reset_deaths([leased("worker-0")], chief, [one, other])
    assert (chief.deaths, one.deaths, other.deaths) == (0, 0, DEATHS - 1)
    reset_deaths([], chief, [one, other])
    assert other.deaths == DEATHS - 1


def test_only_the_process_that_serves_the_live_page_gets_its_token_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_page = {
        names.ENV_LIVE_PAGE: "127.0.0.1:8443",
        names.ENV_LIVE_PAGE_TOKEN: "correct-horse-battery-staple",
        names.ENV_LIVE_PAGE_CERT: "page.crt",
        names.ENV_LIVE_PAGE_KEY: "page.key",
    }
    for name, value in of_page.items():
        monkeypatch.setenv(name, value)
    one = child(tmp_path, "import os; print(sorted(os.environ))")
    run(one)
    assert "LIVE_PAGE" not in one.log.read_text()
    variables = page_variables(Address("127.0.0.1", 9090), Address("127.0.0.1", 8443), os.environ)
    assert variables == {names.ENV_HTTP: "127.0.0.1:9090", **of_page}


def test_settings_of_the_environment_are_not_inherited_past_the_study_that_they_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_SETTING + "SEARCH__MAX_TRIALS", "4")
    monkeypatch.setenv(names.ENV_STUDY_FILE, "other.yaml")
    monkeypatch.setenv("UNRELATED", "yes")
    one = child(tmp_path, "import os; print(sorted(os.environ))")
    run(one)
    inherited = one.log.read_text()
    assert names.ENV_SETTING not in inherited
    assert names.ENV_STUDY_FILE not in inherited
    assert "UNRELATED" in inherited


def test_workers_of_a_run_do_not_become_supervisors_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.ENV_PROCESSES, "4")
    one = child(tmp_path, "import os; print('variables:', sorted(os.environ))")
    run(one)
    inherited = one.log.read_text()
    assert inherited.startswith("variables:")
    assert names.ENV_PROCESSES not in inherited


def test_children_that_do_not_end_are_killed(tmp_path: Path) -> None:
    one = child(
        tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    )
    one.start()
    while not one.log.read_text():
        pass
    stop_all([one], 0.2)
    assert one.exit_code() == -9


def test_dismissed_workers_are_started_again_if_the_search_can_use_them(tmp_path: Path) -> None:
    works = child(tmp_path, "import time; time.sleep(60)", "worker-0")
    dismissed = [child(tmp_path, "", f"worker-{number}") for number in (1, 2)]
    preempted = child(tmp_path, "exit(143)", "worker-3")
    works.start()
    for one in [*dismissed, preempted]:
        run(one)
    workers = [works, *dismissed, preempted]
    before = [one.process for one in workers]
    try:
        for wanted in (None, 0, 1):
            recall(workers, wanted)
            assert [one.process for one in workers] == before
        recall(workers, 2)
        started = [one.process is not process for one, process in zip(workers, before, strict=True)]
        assert started == [False, True, False, False]
    finally:
        stop_all(workers, 5)


def test_workers_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert share_of_cores(1)["TF_NUM_INTRAOP_THREADS"] == str(cores)
    assert set(share_of_cores(cores).values()) == {"1"}
    assert set(share_of_cores(10 * cores).values()) == {"1"}


def test_the_processor_time_of_a_child_grows_while_it_works_and_not_while_it_is_suspended(tmp_path: Path) -> None:
    one = child(tmp_path, "while True: pass")
    assert one.cpu_s() == 0
    one.start()
    try:
        before = one.cpu_s()
        deadline = time.monotonic() + 20
        while one.cpu_s() < before + 0.05:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        one.stop(signal.SIGSTOP)
        before = -1.0
        while before != one.cpu_s():
            assert time.monotonic() < deadline
            before = one.cpu_s()
            time.sleep(0.1)
    finally:
        one.stop(signal.SIGKILL)


def test_outages_in_a_childs_log_are_taken_out_once(tmp_path: Path) -> None:
    line = "the chief at 127.0.0.1:1 has been unreachable for 8 s (Connection refused), so this worker keeps trying"
    (tmp_path / "worker-0.log").write_text(f"10:00:00 {line} of an earlier run\n")
    one = child(tmp_path, f"print('10:00:00 {line}')")
    run(one)
    assert one.new_outages() == [line]
    assert one.new_outages() == []
    with one.log.open("a") as log:
        log.write(f"10:00:30 {line}")
    assert one.new_outages() == []  # the line is not complete
    with one.log.open("a") as log:
        log.write("\n")
    assert one.new_outages() == [line]
