"""Numbers are never silently wrong: a model that is not the one that was scored ends its search, or its evaluation."""

import json

from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, settings, space
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack


def assert_refused(place: Place, done: Done) -> None:
    """The first trial failed after its first epoch, and the search ended with the reason in one line."""
    assert done.code == 2
    assert "every trial would fail as trial 00000 did: val_loss was reported as " in done.error
    assert "keras.layers.Rescaling(1 / 255) instead of x / 255" in done.error
    assert done.error.count("\n") == 1
    assert place.reports() == []
    assert list(place.bucket.list(names.evaluation(place.study))) == []


SCALED = (*space("ScalesInFit"), *settings(search__max_trials=3, search__objective="val_loss", training__epochs=5))


def test_pixels_that_fit_divides_end_the_search_after_an_epoch(place: Place, two_colours: str) -> None:
    pack(two_colours, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    chief = place.start("chief", *SCALED, **address)
    worker = do_here(place, "worker", **address, **{names.ENV_TUNER_ID: "worker-0"})
    assert worker.code == 0, worker.err
    assert_refused(place, chief.wait())


def test_they_end_a_run_on_jax(place: Place, two_colours: str) -> None:
    assert_refused(place, place.do("run", "--data", two_colours, *SCALED, backend="jax"))


def test_a_search_for_what_fit_returns_minimizes_it_and_marks_it_as_not_verified(
    place: Place, two_colours: str
) -> None:
    pack(two_colours, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    study = (
        *settings(search__objective="mae", search__direction="min", search__algorithm="grid", training__epochs=1),
        *settings(evaluation__robustness_images=0),
    )
    chief = place.start("chief", *space("ReturnsError"), *study, **address)
    worker = do_here(place, "worker", **address, **{names.ENV_TUNER_ID: "worker-0"})
    for done in (worker, chief.wait(), do_here(place, "evaluate")):
        assert done.code == 0, done.err
    trials = json.loads(do_here(place, "trials", "--json").out)
    assert {(trial["hyperparameters"]["units"], trial["score"], trial["verified"]) for trial in trials} == {
        (4, 0.4000000059604645, False),
        (8, 0.800000011920929, False),
    }
    assert do_here(place, "trials").out.count("(not verified)") == 2
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    assert (metrics["verified"], metrics["hyperparameters"]["units"]) == (False, 4)
    assert "mae 0.4000 (not verified)" in done.output
