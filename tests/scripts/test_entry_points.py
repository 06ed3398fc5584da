"""Keras Tuner's code on which scripts depend is the pinned one. A new version needs a new look at it."""

import hashlib
import inspect
from importlib.metadata import version
from typing import Any, cast

import pytest
from keras_tuner.src.engine import tuner_utils
from keras_tuner.src.engine.base_tuner import BaseTuner
from keras_tuner.src.engine.hypermodel import HyperModel
from keras_tuner.src.engine.tuner import Tuner
from keras_tuner.src.tuners.hyperband import Hyperband

from tuner.scripts.entry_points import REPLACED, Replacements, replaced

REPLACED_CODE = {
    "Oracle.__init__": "790a516e13f1ca14",
    "BaseTuner.__init__": "15f347cabd15b036",
    "BaseTuner.search": "39c5cecee4c44974",
    "BaseTuner.on_trial_end": "696653f12420bb51",
    "Tuner._deepcopy_callbacks": "1433df572cd547b2",
    "Tuner.load_model": "c825165d285c0171",
    "SaveBestEpoch": "4ec2cafb3710ba84",
    "has_chief_oracle": "36af0cafd9c5f64d",
}
CALLED: dict[Any, str] = {
    Tuner.run_trial: "a62b793008fd54db",
    Tuner._build_and_fit_model: "1be221e987732a41",
    Tuner._build_hypermodel: "6ed68e8f219d4a20",
    Tuner._override_compile_args: "46b510317303d331",
    Hyperband.run_trial: "ef6f76896fe21f49",
    Hyperband._build_hypermodel: "9d41af7f3b7511b3",
    BaseTuner.get_best_models: "a5bf67604d9b7d8b",
    BaseTuner.get_best_hyperparameters: "9cee2cabe0cbca1f",
    BaseTuner.results_summary: "b7b160458421be38",
    BaseTuner._populate_initial_space: "972f3defbc2e9f45",
    HyperModel.fit: "58e414a4cc1e0b3e",
    HyperModel.__init__: "019b17eb42054aa6",
    tuner_utils.convert_to_metrics_dict: "48b968f4defeb17c",
    tuner_utils.validate_trial_results: "ba803b440431d385",
}
"""What calls the replaced code, or is called by ours."""


def digest(code: Any) -> str:
    return hashlib.sha256(inspect.getsource(code).encode()).hexdigest()[:16]


def test_keras_tuner_is_the_pinned_version() -> None:
    assert version("keras-tuner") == "1.4.8"


def test_the_replaced_code_is_that_of_the_pinned_version() -> None:
    code = {getattr(owner, name).__qualname__: digest(getattr(owner, name)) for owner, name in REPLACED}
    assert code == REPLACED_CODE


@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.__qualname__)
def test_the_code_around_it_is_that_of_the_pinned_version(function: Any) -> None:
    assert digest(function) == CALLED[function]


def test_keras_tuner_has_its_own_code_again_after_a_script() -> None:
    before = [getattr(owner, name) for owner, name in REPLACED]

    def fail() -> None:
        with replaced(cast(Replacements, None)):
            assert all(getattr(owner, name) is not code for (owner, name), code in zip(REPLACED, before, strict=True))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [getattr(owner, name) for owner, name in REPLACED] == before
