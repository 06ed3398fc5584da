"""Trials that fail, models that cannot be built: the search goes on where it can, and says why where it cannot."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.in_process import do_here
from tests.integration.support import Done, Place, place, settings, space
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack
from tuner.study.records import TrialState


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[tuple[Place, Done]]:
    with place(tmp_path_factory.mktemp("moody")) as new_place:
        pack(two_colours, new_place.bucket)
        address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
        grid = settings(search__algorithm="grid", training__epochs=1)
        chief = new_place.start("chief", *space("Moody"), *grid, **address)
        worker = new_place.do("worker", **address, **{names.ENV_TUNER_ID: "worker-0"})
        assert worker.code == 0, worker.err
        yield new_place, chief.wait()


def test_trials_that_fail_do_not_end_the_search(moody: tuple[Place, Done]) -> None:
    place, done = moody
    assert done.code == 0, done.err
    assert place.state().finished
    states = {trial.hyperparameters["mood"]: trial.state.value for trial in place.state().trials.values()}
    failed = dict.fromkeys(("raises", "nan", "memory"), "FAILED")
    assert states == {"good": "COMPLETED", "fine": "COMPLETED", **failed}


def test_a_failed_trial_says_why(moody: tuple[Place, Done]) -> None:
    trials = {trial.hyperparameters["mood"]: trial for trial in moody[0].state().trials.values()}
    assert trials["raises"].reason.startswith("ValueError: this layer does not fit")
    assert "user_spaces.py" in trials["raises"].reason
    assert trials["nan"].reason.startswith("the loss became nan in epoch 1")
    assert trials["memory"].reason.startswith("MemoryError: no room for 10 TB")


def test_each_kind_of_failure_has_its_own_number_of_tries(moody: tuple[Place, Done]) -> None:
    attempts = {trial.hyperparameters["mood"]: trial.attempts for trial in moody[0].state().trials.values()}
    assert attempts == {"good": 1, "fine": 1, "raises": 2, "nan": 1, "memory": 2}


def test_the_log_of_a_failed_trial_has_both_tries_with_what_the_model_printed(moody: tuple[Place, Done]) -> None:
    place, _ = moody
    trial = next(t for t in place.state().trials.values() if t.hyperparameters["mood"] == "raises")
    done = place.do("logs", trial.trial_id)
    assert done.code == 0, done.err
    assert done.cpu_s < 1.0
    lines = done.out.splitlines()
    heads = [line for line in lines if line.startswith("---- ")]
    assert [head.partition(" attempt ")[2].partition(" (")[0] for head in heads] == [
        "1 by worker-0: failed",
        "2 by worker-0: failed",
    ]
    assert [line.partition("Z ")[2] for line in lines if " out " in line] == ["out in the mood: raises"] * 2
    assert sum("ValueError: this layer does not fit" in line for line in lines if " log " in line) >= 2


def test_logs_without_a_trial_names_those_there_are(moody: tuple[Place, Done]) -> None:
    done = do_here(moody[0], "logs")
    assert done.code == 2
    assert "the argument TRIAL is required. Study cifake has logs of the trials 00000, 00001," in done.err


def test_a_search_whose_trials_all_fail_ends_with_the_first_error(place: Place, two_colours: str) -> None:
    done = place.do("run", "--data", two_colours, *space("Hopeless"), *settings(retries__failure=0))
    assert done.code == 4
    assert done.error.startswith("error: ")
    assert "3 consecutive trials failed; the first failure:" in done.output
    assert "is not my lucky number" in done.err
    assert "Traceback" not in done.err
    assert done.error.count("\n") == 1
    assert list(place.bucket.list(names.evaluation(place.study))) == []


def test_an_objective_that_the_model_lacks_is_answered_with_those_that_it_has(place: Place, two_colours: str) -> None:
    pack(two_colours, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    chief = place.start("chief", *space("Tiny"), *settings(search__objective="val_auc"), **address)
    worker = do_here(place, "worker", **address, **{names.ENV_TUNER_ID: "worker-0"})
    assert worker.code == 0, worker.err
    done = chief.wait()
    assert done.code == 2
    assert "search.objective is 'val_auc', and the model reports accuracy, loss, val_accuracy, val_loss" in done.err
    assert place.reports() == []  # nothing was trained
    [trial] = place.state().trials.values()
    assert (trial.state, trial.attempts) == (TrialState.FAILED, 1)
    assert done.error.count("\n") == 1


def test_a_model_that_cannot_be_built_ends_the_run_at_once(place: Place, two_colours: str) -> None:
    done = place.do("run", "--data", two_colours, *space("Unbuildable"))
    assert done.code == 2
    assert done.error.startswith("error: ")
    assert "KeyError: 'my_setting'" in done.err
    assert "Traceback" not in done.err
    assert done.error.count("\n") == 1


def search(place: Place) -> Done:
    """Search `Refusing` with a chief and a worker; return how the chief ended."""
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    grid = settings(search__algorithm="grid", training__epochs=1, retries__failure=3)
    chief = place.start("chief", *space("Refusing"), *grid, **address)
    worker = do_here(place, "worker", **address, **{names.ENV_TUNER_ID: "worker-0"})
    assert worker.code == 0, worker.err
    return chief.wait()


def test_what_the_model_rules_out_is_not_retried_and_a_fatal_error_ends_the_search_until_it_is_fixed(
    place: Place, two_colours: str
) -> None:
    pack(two_colours, place.bucket)

    def trials() -> dict[object, tuple[str, int]]:
        return {t.hyperparameters["kind"]: (t.state.value, t.attempts) for t in place.state().trials.values()}

    done = search(place)
    assert done.code == 2
    assert "FatalValueError: the pretrained weights are missing [user_spaces.py:" in done.error
    assert done.error.count("\n") == 1
    assert trials() == {"good": ("COMPLETED", 1), "failed": ("FAILED", 1), "fatal": ("FAILED", 1)}
    reasons = {t.hyperparameters["kind"]: t.reason for t in place.state().trials.values()}
    assert reasons["failed"].startswith("FailedTrialError: too large: 8 parameters [user_spaces.py:")
    (place.gate / "fixed").touch()
    done = search(place)
    assert done.code == 0, done.err
    assert "its 1 failed trials are tried again" in done.out
    completed = {"good": ("COMPLETED", 1), "fatal": ("COMPLETED", 2), "last": ("COMPLETED", 1)}
    assert trials() == completed | {"failed": ("FAILED", 1)}


def test_a_function_is_searched_and_evaluated(place: Place, two_colours: str) -> None:
    pack(two_colours, place.bucket)
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
    study = settings(search__max_trials=1, training__epochs=1, evaluation__robustness_images=0)
    chief = place.start("chief", *space("build_tiny"), *study, **address)
    worker = do_here(place, "worker", **address, **{names.ENV_TUNER_ID: "worker-0"})
    for done in (worker, chief.wait(), do_here(place, "evaluate")):
        assert done.code == 0, done.err
    provenance = json.loads(place.bucket.read(names.evaluation(place.study, names.PROVENANCE_JSON)))
    assert provenance["code"]["space"] == "user_spaces:build_tiny"
    assert provenance["code"]["space_sha256"]
