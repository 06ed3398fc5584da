"""The wall clock of each role is set back and forward in mid-epoch: nothing waits, expires or is repeated."""

import time
from pathlib import Path

import pytest

from tests.integration.support import RUN_S, Command, Place, settings, space
from tests.support.gcs_emulator import free_port
from tests.support.shifted_clock import HOUR_S, ShiftedClock
from tuner import names
from tuner.study.records import TrialState
from tuner.study.state import StudyState

EPOCHS = 4
LEASE_S = 6.0
"""Several of them pass during the test, so that a lease that depended on the wall clock would expire."""
ROLES = ("chief", "worker")


@pytest.mark.parametrize("role", ROLES)
def test_a_shifted_clock_costs_no_attempt_and_no_time(
    place: Place, two_colours: str, tmp_path: Path, role: str
) -> None:
    clock = ShiftedClock(tmp_path)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    assert place.do("data", "pack", two_colours, str(place.bucket_folder)).code == 0
    study = [
        *space("GatedLine"),
        *settings(search__max_trials=2, training__epochs=EPOCHS, data__batch_size=16, leases__duration_s=LEASE_S),
        *settings(search__early_stopping__policy="none"),
    ]
    shifted = {name: clock.environment if name == role else {} for name in ROLES}
    hold = place.gate / "hold-2"
    hold.touch()
    chief = place.start("chief", *study, **address, **shifted["chief"])
    worker = place.start("worker", **address, **shifted["worker"], **{names.ENV_TUNER_ID: "w0"})
    place.wait_for(in_third_epoch, "the third epoch", chief)
    for shift_s in (-HOUR_S, HOUR_S, 0):
        clock.shift(shift_s)
        await_seconds(LEASE_S, chief, worker)
    clock.shift(-HOUR_S)
    hold.unlink()
    began = time.monotonic()
    assert worker.wait().code == 0, place.logs()
    assert chief.wait().code == 0, place.logs()
    assert time.monotonic() - began < RUN_S / 2
    trials = place.state().trials.values()
    assert {trial.state for trial in trials} == {TrialState.COMPLETED}
    assert {trial.attempts for trial in trials} == {1}
    assert len(place.reports()) == len(set(place.reports())) == 2 * EPOCHS


def in_third_epoch(state: StudyState) -> bool:
    return any(max(trial.epochs, default=0) == 1 for trial in state.trials.values())


def await_seconds(seconds: float, *commands: Command) -> None:
    """Let heartbeats and leases pass, which is a matter of time, while both processes run."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert [command.process.poll() for command in commands] == [None] * len(commands)
        time.sleep(0.1)


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
def test_an_evaluation_ends_when_its_clock_is_shifted(
    place: Place, two_colours: str, tmp_path: Path, step_s: int
) -> None:
    clock = ShiftedClock(tmp_path)
    study = settings(search__max_trials=1, training__epochs=1)
    command = place.start("run", "--data", two_colours, *space("Tiny"), *study, **clock.environment)
    place.wait_for(lambda state: state.finished is not None, "the end of the search", command)
    shift_s = 0
    deadline = time.monotonic() + RUN_S
    while command.process.poll() is None:  # in all that the evaluation does
        shift_s += step_s
        clock.shift(shift_s)
        assert time.monotonic() < deadline, place.logs()
        time.sleep(0.3)
    assert command.wait().code == 0, place.logs()
