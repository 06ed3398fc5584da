"""Other workers than ours: Keras Tuner's own, unmodified."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.integration.support import RUN_S, SPACES, Command, Place, place, python_with, settings, space
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack
from tuner.study.records import TrialState
from tuner.study.state import StudyState

# ---- Keras Tuner's own worker -------------------------------------------------------------------------
STOCK_WORKER = """
import sys
import keras_tuner
import numpy as np
from user_spaces import Tiny

x, y = np.zeros((16, 8, 8, 3), np.uint8), np.arange(16) % 2
tuner = keras_tuner.RandomSearch(
    Tiny((8, 8, 3), 2), objective="val_accuracy", max_trials=3, directory=sys.argv[1], project_name="stock"
)
tuner.search(x, y, validation_data=(x, y), epochs=2, verbose=0)
"""


ODD_WORKER = """
import pathlib, sys, time
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner

class Odd(BaseTuner):
    def pre_create_trial(self):
        print("asks", flush=True)

    def on_trial_end(self, trial):
        super().on_trial_end(trial)
        time.sleep(2)  # it is slow to ask for the next one, also after the last

    def run_trial(self, trial):
        units = trial.hyperparameters.get("units")
        print("trains", flush=True)
        if units == 4:
            raise ValueError("4 is not my lucky number")
        if units == 8:
            raise keras_tuner.errors.FailedTrialError("never with 8")
        gate, until = pathlib.Path(sys.argv[2]), time.monotonic() + 240
        while units == 16 and gate.exists() and time.monotonic() < until:
            time.sleep(0.05)
        for epoch in range(4):
            accuracy = 0.9 if units == 2 else 0.1
            answer = self.oracle.update_trial(trial.trial_id, {"val_accuracy": accuracy}, step=epoch)
            if answer.status == "STOPPED":
                break

oracle = keras_tuner.oracles.GridSearchOracle(keras_tuner.Objective("val_accuracy", "max"), max_trials=4)
Odd(oracle, directory=sys.argv[1], project_name="odd").search()
"""


def start_chief(place: Place, data: str, *arguments: str) -> tuple[Command, dict[str, str]]:
    """Return a chief that listens, and the environment that leads to it."""
    pack(data, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    chief = place.start("chief", *space("Tiny"), *arguments, **address)
    place.wait_for(lambda state: state.study, "the chief", chief)
    return chief, address


@contextmanager
def stock_worker(
    place: Place, code: str, name: str, address: dict[str, str], *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """Run Keras Tuner as it is; what it prints is read from the process's stdout."""
    process = subprocess.Popen(
        [python_with(place.backend), "-c", code, str(place.folder), *arguments],
        env=place.environment | address | {names.ENV_TUNER_ID: name, "PYTHONPATH": str(SPACES)},
        stdout=subprocess.PIPE,
        stderr=(place.folder / f"command-{name}.err").open("w"),
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_stock_worker_of_keras_tuner_finishes_trials_of_our_chief(place: Place, two_colours: str) -> None:
    chief, address = start_chief(place, two_colours, *settings(search__max_trials=3, training__epochs=2))
    with stock_worker(place, STOCK_WORKER, "tuner0", address) as stock:
        stock.communicate(timeout=RUN_S)
        assert stock.returncode == 0, place.logs()
    done = chief.wait()
    state: StudyState = place.state()
    assert [(t.state, t.worker, t.attempts) for t in state.trials.values()] == [(TrialState.COMPLETED, "tuner0", 1)] * 3
    assert all(trial.score is not None for trial in state.trials.values())
    # it saves its models where only it knows, so there is nothing to evaluate
    assert done.code == 4
    assert done.err.startswith("error: ")
    assert "study 'cifake'" in done.err
    assert done.err.count("\n") == 1


@dataclass(frozen=True)
class Odd:
    """A search of two odd workers, of which one waited while the other held the last trial."""

    place: Place
    codes: tuple[int | None, int | None]
    asked: list[str]
    """What the waiting one printed last before the other went on; the second time after IDLE."""
    rest: str
    """What it printed from then on."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Odd]:
    more = settings(
        search__algorithm="grid",
        training__epochs=4,
        retries__failure=1,
        search__early_stopping__policy="asha",
        search__early_stopping__min_epochs=1,
        search__early_stopping__reduction_factor=2,
    )
    with place(tmp_path_factory.mktemp("odd")) as odd_place:
        chief, address = start_chief(odd_place, two_colours, *more)
        gate = odd_place.gate / "hold"
        gate.touch()
        with (
            stock_worker(odd_place, ODD_WORKER, "first", address, str(gate)) as first,
            stock_worker(odd_place, ODD_WORKER, "second", address, str(gate)) as second,
        ):
            name = odd_place.wait_for(worker_of_the_last, "the last trial", chief)
            trains, waits = (first, second) if name == "first" else (second, first)
            assert waits.stdout is not None
            asked: list[str] = []
            while asked[-2:] != ["asks\n", "asks\n"]:
                asked.append(waits.stdout.readline())
                assert asked[-1], odd_place.logs()
            gate.unlink()
            rest, _ = waits.communicate(timeout=RUN_S)
            trains.communicate(timeout=RUN_S)
        chief.wait()
        yield Odd(odd_place, (first.returncode, second.returncode), asked[-2:], rest)


def worker_of_the_last(state: StudyState) -> str:
    """Return the name of the worker that has the trial with 16 units."""
    return next((t.worker for t in state.trials.values() if t.hyperparameters["units"] == 16 and t.worker), "")


def test_a_stock_workers_failures_have_their_budgets_and_its_hopeless_trials_are_stopped(odd: Odd) -> None:
    assert odd.codes == (0, 0), odd.place.logs()
    trials = {
        t.hyperparameters["units"]: (t.state, t.attempts, len(t.epochs)) for t in odd.place.state().trials.values()
    }
    assert trials == {
        2: (TrialState.COMPLETED, 1, 4),
        4: (TrialState.FAILED, 2, 0),
        8: (TrialState.FAILED, 1, 0),
        16: (TrialState.STOPPED, 1, 2),
    }


def test_a_stock_worker_waits_for_work_without_spinning_and_ends_with_the_search(odd: Odd) -> None:
    assert odd.asked == ["asks\n", "asks\n"]
    assert odd.rest.count("asks") <= 2
    assert odd.codes == (0, 0), odd.place.logs()
