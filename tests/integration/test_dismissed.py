"""`run`: idle workers end while the last trial is trained, and the spare one takes over the trial of a lost worker."""

import os
import signal
import time

from tests.integration.support import RUN_S, Command, Place, settings, space
from tuner.study.records import TrialState


def await_workers(place: Place, count: int, command: Command) -> None:
    """Wait until so many workers are left."""
    deadline = time.monotonic() + RUN_S
    while len(place.processes("worker")) != count:
        assert command.process.poll() is None, place.logs()
        assert time.monotonic() < deadline, place.logs()
        time.sleep(0.1)


def test_the_last_trial_leaves_one_spare_worker_and_survives_the_death_of_its_own(
    place: Place, two_colours: str
) -> None:
    hold = place.gate / "hold-1"
    hold.touch()
    study = settings(search__max_trials=1, training__epochs=2, evaluation__robustness_images=0, leases__duration_s=3)
    command = place.start("run", "--data", two_colours, "--workers", "4", *study, *space("GatedGrid"))
    trained = place.wait_for(lambda state: [t for t in state.trials.values() if t.epochs], "an epoch", command)
    await_workers(place, 2, command)
    assert "no trial is left for this worker" in place.logs()
    first = trained[0].worker
    for process, name in named(place).items():
        if name == first:
            os.kill(process, signal.SIGKILL)
    place.wait_for(
        lambda state: any(t.attempts == 2 and t.worker != first for t in state.trials.values()),
        "the spare worker to take the trial",
        command,
    )
    await_workers(place, 2, command)  # the lost worker is started again, as the spare one
    hold.unlink()
    done = command.wait()
    assert done.code == 0, done.err
    assert [t.state for t in place.state().trials.values()] == [TrialState.COMPLETED]


def named(place: Place) -> dict[int, str]:
    """Return the names of the workers by their processes."""
    found = {}
    for process in place.processes("worker"):
        with open(f"/proc/{process}/environ", encoding="utf-8") as file:
            variables = dict(line.split("=", 1) for line in file.read().split("\0") if "=" in line)
        found[process] = variables["KERASTUNER_TUNER_ID"]
    return found
