"""Workers on JAX keep compiled programs in their cache folder, and train without it, too."""

from pathlib import Path

import pytest

from tests.integration.one_trial import night
from tests.integration.support import Place
from tuner.study.records import TrialState
from tuner.training.compilation_cache import FOLDER

LIMIT = "training.compilation_cache_mb"
OF_THE_TESTS = "JAX_COMPILATION_CACHE_DIR"
"""A variable with which the tests' processes share their own cache, and which replaces the worker's."""


def trained(place: Place, data: str, *settings: str, **environment: str) -> str:
    """Train a trial in a worker on JAX; return what the worker logged."""
    with night(place, place.bucket, data, "Tiny", "training.epochs=1", *settings) as new_night:
        worker = place.start("worker", backend="jax", **{**new_night.identity, **environment})
        assert worker.wait().code == 0, place.logs()
        trial = new_night.trial()
    assert trial is not None
    assert trial.state is TrialState.COMPLETED
    return worker.printed()


def programs(place: Place) -> list[str]:
    return [path.name for path in (place.cache / FOLDER).glob("*/*")]


@pytest.mark.usefixtures("jax_python")
def test_a_worker_keeps_compiled_programs_in_the_cache_folder(place: Place, two_colours: str) -> None:
    trained(place, two_colours, **{OF_THE_TESTS: ""})
    assert any(name.startswith("jit_train_step") for name in programs(place))


@pytest.mark.usefixtures("jax_python")
def test_a_limit_of_0_keeps_no_programs(place: Place, two_colours: str) -> None:
    trained(place, two_colours, f"{LIMIT}=0", **{OF_THE_TESTS: ""})
    assert not (place.cache / FOLDER).exists()


@pytest.mark.usefixtures("jax_python")
def test_a_cache_folder_of_the_users_own_is_used_instead(place: Place, two_colours: str, tmp_path: Path) -> None:
    trained(place, two_colours, **{OF_THE_TESTS: str(tmp_path / "own")})
    assert list((tmp_path / "own").glob("jit_train_step*"))
    assert not (place.cache / FOLDER).exists()


@pytest.mark.usefixtures("jax_python")
def test_a_trial_is_trained_with_one_warning_if_programs_cannot_be_kept(place: Place, two_colours: str) -> None:
    place.cache.mkdir()
    (place.cache / FOLDER).write_text("a file in its place")
    log = trained(place, two_colours, **{OF_THE_TESTS: ""})
    assert log.count("compiled programs cannot be kept") == 1
