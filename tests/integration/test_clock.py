"""The wall clock of each role is set back and forward in mid-epoch: nothing waits, expires or is repeated."""

import time
from pathlib import Path

from tests.integration.support import RUN_S, Command, Place, settings, space
from tests.support.gcs_emulator import free_port
from tests.support.shifted_clock import HOUR_S, ShiftedClock
from tuner import names
from tuner.data.pack import pack
from tuner.study.records import TrialState
from tuner.study.state import StudyState

EPOCHS = 4
LEASE_S = 6.0
"""Several of them pass during the test, so that a lease that depended on the wall clock would expire."""
ROLES = ("chief", "worker")


def test_a_shifted_clock_of_chief_or_worker_costs_no_attempt_and_no_time(
    place: Place, two_colours: str, tmp_path: Path
) -> None:
    clocks = {role: ShiftedClock(tmp_path / role) for role in ROLES}
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    pack(two_colours, place.bucket)
    study = [
        *space("GatedLine"),
        *settings(search__max_trials=2, training__epochs=EPOCHS, data__batch_size=16, leases__duration_s=LEASE_S),
        *settings(search__early_stopping__policy="none"),
    ]
    hold = place.gate / "hold-2"
    hold.touch()
    chief = place.start("chief", *study, **address, **clocks["chief"].environment)
    worker = place.start("worker", **address, **clocks["worker"].environment, **{names.ENV_TUNER_ID: "w0"})
    place.wait_for(in_third_epoch, "the third epoch", chief)
    for role in ROLES:  # one after the other
        for shift_s in (-HOUR_S, HOUR_S, 0):
            clocks[role].shift(shift_s)
            await_seconds(LEASE_S, chief, worker)
    clocks["chief"].shift(-HOUR_S)
    clocks["worker"].shift(HOUR_S)
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


def test_an_evaluation_ends_when_its_clock_is_shifted(place: Place, two_colours: str, tmp_path: Path) -> None:
    clock = ShiftedClock(tmp_path)
    study = settings(search__max_trials=1, training__epochs=1, evaluation__robustness_images=0)
    command = place.start("run", "--data", two_colours, *space("Tiny"), *study, **clock.environment)
    place.wait_for(lambda state: state.finished is not None, "the end of the search", command)
    shift_until_its_end(clock, -HOUR_S, command, place)
    place.bucket.delete(names.evaluation(place.study, names.METRICS_JSON))
    shift_until_its_end(clock, HOUR_S, place.start("evaluate", **clock.environment), place)
    assert place.bucket.exists(names.evaluation(place.study, names.METRICS_JSON))


def shift_until_its_end(clock: ShiftedClock, step_s: int, command: Command, place: Place) -> None:
    """Shift the clock further and further in all that the command does, which must succeed."""
    shift_s = 0
    deadline = time.monotonic() + RUN_S
    while command.process.poll() is None:
        shift_s += step_s
        clock.shift(shift_s)
        assert time.monotonic() < deadline, place.logs()
        time.sleep(0.3)
    assert command.wait().code == 0, place.logs()
