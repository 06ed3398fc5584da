"""A machine behind a proxy, and a chief that workers cannot reach."""

import os
import signal
import time

from tests.integration.support import RUN_S, Place, settings, space
from tests.support.gcs_emulator import Emulator
from tests.support.proxies import DEAD, through
from tuner import names

STUDY = settings(search__max_trials=1, training__epochs=1, evaluation__robustness_images=0)


def test_neither_the_chief_nor_an_emulated_bucket_is_called_through_a_proxy(
    place: Place, two_colours: str, emulator: Emulator
) -> None:
    """As on a machine behind a proxy, and in pods into which a webhook has injected proxy variables."""
    storage = {names.ENV_BUCKET: f"gs://{emulator.new_bucket()}", names.ENV_EMULATOR: emulator.url}
    done = place.do("run", "--data", two_colours, *space("Tiny"), *STUDY, **storage, **through(DEAD))
    assert done.code == 0, place.logs()


def test_run_shows_that_a_worker_cannot_reach_its_chief(place: Place, two_colours: str) -> None:
    command = place.start("run", "--data", two_colours, *space("Tiny"), *STUDY)
    deadline = time.monotonic() + RUN_S
    while not (chiefs := place.processes("chief")):
        assert time.monotonic() < deadline
        assert command.process.poll() is None, place.logs()
        time.sleep(0.02)
    for chief in chiefs:
        os.kill(chief, signal.SIGSTOP)  # before it listens
    try:
        while "unreachable" not in command.printed():
            assert time.monotonic() < deadline, place.logs()
            time.sleep(0.1)
    finally:
        for chief in chiefs:
            os.kill(chief, signal.SIGCONT)
    line = next(line for line in command.printed().splitlines() if "unreachable" in line)
    assert "worker-0: the chief at 127.0.0.1:" in line
    assert "has been unreachable for 8 s (Connection refused), so this worker keeps trying." in line
    assert command.wait().code == 0
