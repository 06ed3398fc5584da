"""A full bucket or disk costs no trial: `run` says what is needed, and continues once there is room."""

import json
from pathlib import Path

import pytest

from tests.integration.in_process import do_here
from tests.integration.one_trial import night
from tests.integration.support import Place, settings, space
from tests.support.disks import resize, small_disk
from tuner.study.records import Outcome, TrialState

ROOM_KIB = 16_384


@pytest.mark.parametrize("full", ["bucket", "tmp"])
def test_run_ends_with_3_and_the_same_command_continues_when_there_is_room(
    place: Place, two_colours: str, full: str
) -> None:
    tight = {"bucket": 540, "tmp": 48}[full]
    study = settings(search__max_trials=1, training__epochs=1, evaluation__robustness_images=0)
    run = ("run", "--data", two_colours, *space("Tiny"), *study)
    with small_disk(place.folder / full, tight) as disk:
        more = {"TMPDIR": str(disk)} if full == "tmp" else {}
        stopped = place.do(*run, *settings(retries__environment_s=1), **more)
        where = {"bucket": f"the bucket {disk}", "tmp": "temporary files"}[full]
        last_line = stopped.err.strip().splitlines()[-1]
        assert (stopped.code, last_line[:33]) == (3, "error: no checkpoint can be saved"), stopped.err
        assert all(part in last_line for part in (where, "are needed", "are free", "run the same command again"))
        status = json.loads(do_here(place, "status", "--json").out)
        assert (status["queued"], status["epochs_trained"]) == (1, 0), "no epoch is trained that cannot be saved"
        assert "1 attempt handed back" in status["problem"]
        resize(disk, ROOM_KIB)
        assert place.do(*run, *settings(retries__environment_s=1), **more).code == 0
        [trial] = json.loads(do_here(place, "trials", "--json").out)
        assert (trial["state"], trial["attempts"]) == ("COMPLETED", 1)
        assert json.loads(do_here(place, "status", "--json").out)["problem"] == ""


def test_an_epoch_whose_checkpoint_does_not_fit_is_kept_until_there_is_room(place: Place, two_colours: str) -> None:
    with small_disk(place.folder / "tmp", 4096) as disk, night(place, place.bucket, two_colours) as new_night:
        worker = new_night.work_until_full(disk)
        new_night.until(lambda: "No space left" in new_night.problem(), "the worker waits")
        (disk / "ballast").unlink()
        assert worker.wait().code == 0
        assert new_night.endings() == []
        trial = new_night.trial()
    assert trial is not None
    assert (trial.state, trial.attempts, sorted(trial.epochs)) == (TrialState.COMPLETED, 1, list(range(6)))
    assert [epoch for _, epoch in place.reports()] == list(range(6)), "no epoch is trained again"


def test_a_worker_that_is_stopped_while_its_disk_is_full_costs_no_retry(place: Place, two_colours: str) -> None:
    with small_disk(place.folder / "tmp", 4096) as disk, night(place, place.bucket, two_colours) as new_night:
        worker = new_night.work_until_full(disk)
        new_night.until(new_night.problem, "the worker waits")
        worker.process.terminate()
        assert worker.wait().code == 143
        assert new_night.endings() == [Outcome.ENVIRONMENT]
        assert not list(Path(disk).glob("cifake-tune-*/*")), "nothing half-written is left"
