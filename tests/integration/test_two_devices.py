"""A worker that trains a trial on two devices is killed, and one with a single device resumes the trial."""

import pytest

from tests.integration.one_trial import EPOCHS, night
from tests.integration.support import Place
from tuner.study.records import TrialState

TWO = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
SENTENCE = "each batch of 16 is divided among 2 devices"


@pytest.mark.usefixtures("jax_python")
def test_a_trial_killed_on_two_devices_resumes_on_one_as_if_it_had_never_had_two(
    place: Place, two_colours: str
) -> None:
    with night(place, place.bucket, two_colours) as interrupted:
        interrupted.gate("hold-2").touch()
        killed = place.start("worker", backend="jax", **interrupted.identity, **TWO)
        interrupted.until(lambda: interrupted.epochs() == 2, "two epochs")
        killed.process.kill()
        killed.wait()
        interrupted.gate("hold-2").unlink()
        last = place.start("worker", backend="jax", **interrupted.identity)
        assert last.wait().code == 0, place.logs()
        trial = interrupted.trial()
    assert SENTENCE in killed.printed()
    assert SENTENCE not in last.printed()
    assert "resumes from epoch 3" in last.printed()
    assert trial is not None
    assert (trial.state, sorted(trial.epochs)) == (TrialState.COMPLETED, list(range(EPOCHS)))
    assert [epoch for _, epoch in place.reports()] == list(range(EPOCHS)), "no epoch is trained again"


@pytest.mark.usefixtures("jax_python")
def test_training_devices_limits_the_devices_of_a_trial(place: Place, two_colours: str) -> None:
    with night(place, place.bucket, two_colours, "Tiny", "training.epochs=1", "training.devices=1") as limited:
        worker = place.start("worker", backend="jax", **limited.identity, **TWO)
        assert worker.wait().code == 0, place.logs()
    assert SENTENCE not in worker.printed()
