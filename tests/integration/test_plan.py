"""The plan of a search agrees with the search, within a factor of two."""

import json
from typing import Any

import pytest

from tests.integration.support import Place, settings, space
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack

pytestmark = pytest.mark.slow

TRIALS, EPOCHS = 2, 30
NAME = {names.ENV_TUNER_ID: "worker-0"}


def test_the_plan_is_within_a_factor_of_two_of_the_search(place: Place, two_colours: str) -> None:
    study = (
        *space("Tiny"),
        *settings(search__max_trials=TRIALS, training__epochs=EPOCHS, search__early_stopping__policy="none"),
        *settings(data__batch_size=1, cost__per_worker_hour=3600),
    )

    def planned() -> dict[str, Any]:
        done = place.do("plan", "--data", two_colours, *study, "--models", "2", "--json")
        assert done.code == 0, done.err
        return dict(json.loads(done.out))

    plan = planned()
    assert (plan["trials"], plan["epochs"], plan["limited_by"]) == (TRIALS, TRIALS * EPOCHS, "search.max_trials")
    assert (plan["hyperparameters"], plan["combinations"]) == ({"units": "2, 4, 8, 16"}, 4)
    assert plan["smallest_parameters"] == plan["default_parameters"] < plan["largest_parameters"]
    assert plan["warnings"] == []
    assert plan["cost"] == pytest.approx(plan["worker_hours"] * 3600)
    pack(two_colours, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    chief, worker = place.start("chief", *study, **address), place.start("worker", **address, **NAME)
    for command in (worker, chief):
        done = command.wait()
        assert done.code == 0, done.err
    state = place.state()
    assert sum(len(trial.epochs) for trial in state.trials.values()) == TRIALS * EPOCHS
    # other programs may slow down the machine, but hardly during both plans and not the search, or the reverse
    hours = plan["worker_hours"], planned()["worker_hours"]
    assert min(hours) / 2 < state.time.leased_s / 3600 < max(hours) * 2
    sizes = [len(place.bucket.read(name)) for name in place.bucket.list("")]
    assert 0.5 < plan["bucket_bytes"] / sum(sizes) < 20
