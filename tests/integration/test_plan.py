"""The plan of a search agrees with the search, within a factor of two."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Place, settings, space
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

TRIALS, EPOCHS, WORKERS = 9, 9, 2


def size_of(folder: Path) -> int:
    """Return the size of all files of a folder, without those that are deleted meanwhile."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def test_the_plan_is_within_a_factor_of_two_of_the_search(place: Place, two_colours: str) -> None:
    study = (
        *space("Rated"),
        *settings(search__max_trials=TRIALS, training__epochs=EPOCHS, cost__per_worker_hour=3600),
        # trials of two colours soon have the same accuracy, and early stopping stops none of those that tie
        *settings(search__objective="val_loss", data__batch_size=1),
    )

    def planned() -> dict[str, Any]:
        done = place.do("plan", "--data", two_colours, *study, "--workers", f"{WORKERS}", "--models", "3", "--json")
        assert done.code == 0, done.err
        return dict(json.loads(done.out))

    plan = planned()
    assert (plan["trials"], plan["workers"], plan["limited_by"]) == (TRIALS, WORKERS, "search.max_trials")
    assert plan["hyperparameters"]["units"] == "2, 4, 8, 16"
    assert plan["smallest_parameters"] == plan["default_parameters"] < plan["largest_parameters"]
    assert plan["warnings"] == []
    assert plan["cost"] == pytest.approx(plan["worker_hours"] * 3600)
    pack(two_colours, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    chief = place.start("chief", *study, **address)
    workers = [place.start("worker", **address, **{names.ENV_TUNER_ID: f"worker-{n}"}) for n in range(WORKERS)]
    largest = 0
    while chief.process.poll() is None:
        largest = max(largest, size_of(place.bucket_folder))
        time.sleep(0.05)
    for command in (*workers, chief):
        done = command.wait()
        assert done.code == 0, done.err
    state = place.state()
    trials = state.trials.values()
    trained = sum(len(trial.epochs) for trial in trials)
    assert TRIALS < trained < TRIALS * EPOCHS, "early stopping has stopped some trials"
    assert plan["epochs"] / 2 < trained < plan["epochs"] * 2
    # other programs may slow down the machine, but hardly during both plans and not the search, or the reverse
    plans = plan, planned()
    hours = [each["worker_hours"] for each in plans]
    assert min(hours) / 2 < state.time.leased_s / 3600 < max(hours) * 2
    lasted_s = max(trial.ended or 0.0 for trial in trials) - min(trial.started or 0.0 for trial in trials)
    hours = [each["finish_hours"] for each in plans]
    assert min(hours) / 2 < lasted_s / 3600 < max(hours) * 2
    assert plan["bucket_bytes"] / 2 < largest < plan["bucket_bytes"] * 2
