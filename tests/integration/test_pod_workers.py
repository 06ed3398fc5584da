"""`worker --processes`: several processes of a pod, which train at the same time and are told apart."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.support import RUN_S, Command, Place, settings, space
from tests.support.gcs_emulator import free_port
from tests.support.scrape import get, scrape
from tuner import names
from tuner.address import Address
from tuner.bucket.local import LocalBucket
from tuner.data.pack import pack
from tuner.monitoring.metric_names import Metric
from tuner.study.records import AttemptEnded, Outcome, TrialState

HOLD = "hold-1"


class Pod:
    """A chief, and a pod with two worker processes."""

    def __init__(self, place: Place, two_colours: str) -> None:
        self.place = place
        pack(two_colours, place.bucket)
        (place.gate / HOLD).touch()
        self._address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
        self.http = Address("127.0.0.1", free_port())
        study = settings(search__max_trials=2, training__epochs=2, leases__duration_s=3)
        self.chief = place.start("chief", *study, *space("GatedGrid"), **self._address)
        self.pod = self.start()

    def start(self, **environment: str) -> Command:
        own = {names.ENV_TUNER_ID: "worker-0", names.ENV_HTTP: str(self.http), names.ENV_PROCESSES: "2"}
        return self.place.start("worker", **self._address, **own, **environment)

    def await_epochs(self) -> None:
        """Wait until both trials have reported an epoch, and are held before the next."""
        self.place.wait_for(
            lambda state: len(state.trials) == 2 and all(t.epochs for t in state.trials.values()), "epochs", self.pod
        )

    def release(self) -> None:
        (self.place.gate / HOLD).unlink()

    def processes(self) -> dict[str, int]:
        """Return the ids of the processes by their names."""
        found = {}
        for process in self.place.processes("worker"):
            text = Path(f"/proc/{process}/environ").read_text()
            variables = dict(line.split("=", 1) for line in text.split("\0") if "=" in line)
            if names.ENV_PARENT in variables:
                found[variables[names.ENV_TUNER_ID]] = process
        return found


def until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + RUN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def pod(place: Place, two_colours: str) -> Pod:
    new_pod = Pod(place, two_colours)
    new_pod.await_epochs()
    return new_pod


def test_two_processes_train_two_trials_and_a_killed_one_is_replaced_without_disturbing_the_other(pod: Pod) -> None:
    before = pod.processes()
    assert set(before) == {"worker-0-0", "worker-0-1"}
    # probes, metrics and logs tell the processes apart
    assert [get(str(pod.http), f"{names.HTTP_READY}/{number}").status for number in (0, 1)] == [200, 200]
    assert get(str(pod.http), f"{names.HTTP_READY}/2").status == 404
    assert get(str(pod.http), names.HTTP_READY).status == get(str(pod.http), names.HTTP_HEALTHY).status == 200
    scraped = scrape(str(pod.http))
    assert [scraped.total(Metric.WORKER_EPOCHS, process=number) for number in ("0", "1")] == [1, 1]
    lines = pod.pod.printed().splitlines()
    assert all(any(line.startswith(f"[{name}] ") for line in lines) for name in before)
    os.kill(before["worker-0-1"], signal.SIGKILL)
    until("a new process", lambda: pod.processes().get("worker-0-1") not in (None, before["worker-0-1"]))
    assert pod.processes()["worker-0-0"] == before["worker-0-0"]
    pod.place.wait_for(lambda state: any(t.attempts == 2 for t in state.trials.values()), "the second attempt", pod.pod)
    pod.release()
    assert pod.chief.wait().code == 0
    assert pod.pod.wait().code == 0
    trials = pod.place.state().trials.values()
    assert sorted(t.attempts for t in trials) == [1, 2]
    assert {t.state for t in trials} == {TrialState.COMPLETED}


def test_a_pod_that_is_preempted_returns_all_its_trials_and_another_one_completes_them(pod: Pod) -> None:
    pod.pod.process.terminate()
    assert pod.pod.wait().code == 143
    ended = [record for record in pod.place.records() if isinstance(record, AttemptEnded)]
    assert [record.outcome for record in ended] == [Outcome.PREEMPTED, Outcome.PREEMPTED]
    assert len(pod.place.processes("worker")) == 0
    pod.release()
    second = pod.start(**{names.ENV_LOG_FORMAT: "json"})
    assert second.wait().code == 0
    events = [json.loads(line) for line in second.printed().splitlines() if line.startswith("{")]
    assert {"worker-0-0", "worker-0-1"} <= {event.get("worker") for event in events}
    assert {t.state for t in pod.place.state().trials.values()} == {TrialState.COMPLETED}


def test_a_mistake_that_all_processes_would_repeat_ends_the_pod_with_its_exit_code(place: Place) -> None:
    LocalBucket(place.bucket_folder)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "no port"}
    done = place.do("worker", "--processes", "2", **address, **{names.ENV_TUNER_ID: "worker-0"})
    assert done.code == 2
    assert "KERASTUNER_ORACLE_PORT must be a port" in done.err
