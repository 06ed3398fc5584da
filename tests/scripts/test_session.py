"""A script runs up to its search or past it. What it does wrong is one sentence."""

import sys
from pathlib import Path

import keras
import pytest

from tests.scripts.scripts import HEAD, RANDOM, SEARCH, searched, space
from tuner.errors import CifakeTuneError, EnvironmentFailure, NoResultError, ScriptError
from tuner.scripts.session import ScriptSearch, run_past_search, run_to_search
from tuner.scripts.space import script_space

OTHER = "other = keras_tuner.RandomSearch(build, 'val_loss', max_trials=1)\nother.search(x, y)\n"


def test_a_script_is_left_at_its_search(tmp_path: Path) -> None:
    search = searched(tmp_path, RANDOM + SEARCH + "raise SystemError")
    assert search.kwargs.keys() == {"validation_data", "epochs", "verbose"}
    assert [array.shape for array in search.args] == [(8, 2), (8,)]


def test_it_runs_as_main_with_its_arguments(tmp_path: Path) -> None:
    body = f"import sys\nassert __name__ == '__main__' and sys.argv[1:] == ['--n', '3'], sys.argv\n{RANDOM}{SEARCH}"
    before = sys.modules["__main__"], list(sys.argv), list(sys.path)
    searched(tmp_path, body, arguments=["--n", "3"])
    assert (sys.modules["__main__"], sys.argv, sys.path) == before


def test_a_module_beside_it_may_have_the_name_of_this_program(tmp_path: Path) -> None:
    (tmp_path / "tuner.py").write_text("TRIALS = 4\n")
    body = "from tuner import TRIALS\ntuner = keras_tuner.RandomSearch(build, 'val_loss', max_trials=TRIALS)\n"
    assert searched(tmp_path, body + SEARCH).tuner.oracle.max_trials == 4


def test_overwrite_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "results" / "mine"
    project.mkdir(parents=True)
    (project / "oracle.json").write_text("{}")
    body = RANDOM.replace("seed=5", "directory='results', project_name='mine', overwrite=True")
    assert searched(tmp_path, body + SEARCH).overwrites
    assert [path.name for path in project.iterdir()] == ["oracle.json"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("print(1)", "it constructs no Keras Tuner"),
        (RANDOM, "it does not call search()"),
        ("raise ValueError('no data')", "tune.py fails before search(): ValueError: no data [tune.py:9]"),
        ("import sys; sys.exit(3)", "tune.py exits with 3 before search()"),
        ("import nothing_of_this_name", "pip install nothing_of_this_name"),
    ],
)
def test_a_script_without_a_search_is_an_error_of_one_sentence(body: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError) as raised:
        searched(tmp_path, body)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_wrong_arguments_are_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--n', type=int)\n"
    with pytest.raises(ScriptError, match=r"exits with 2 before search\(\): .*argument --n: invalid int value: 'x'\.$"):
        searched(tmp_path, f"{body}parser.parse_args()\n", arguments=["--n", "x"])
    assert "usage:" in capsys.readouterr().err


def test_a_network_that_fails_while_data_is_loaded_is_worth_a_retry(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="timed out"):
        searched(tmp_path, "raise TimeoutError('timed out')")


def test_an_error_of_the_role_passes_the_scripts_handlers(tmp_path: Path) -> None:
    def fail(search: ScriptSearch) -> None:
        raise NoResultError("nothing to evaluate")

    body = f"{RANDOM}try:\n    {SEARCH}except Exception:\n    print('ignored')\n"
    with pytest.raises(CifakeTuneError, match="nothing to evaluate"):
        run_to_search(space(tmp_path, body), fail)


@pytest.mark.parametrize(
    ("tuner", "what"),
    [
        ("keras_tuner.RandomSearch(build, 'val_loss')", "the second Tuner"),
        ("keras_tuner.Hyperband(build, 'val_loss')", "the second Tuner"),
    ],
)
def test_the_chosen_tuner_is_searched(tuner: str, what: str, tmp_path: Path) -> None:
    search = searched(tmp_path, f"{OTHER}tuner = {tuner}\n{SEARCH}", tuner=2)
    assert search.kwargs["epochs"] == 2, what


def test_a_tuner_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"constructs 1 Tuners, and Tuner 2 is to be searched \(--tuner\)"):
        searched(tmp_path, RANDOM + SEARCH, tuner=2)


def test_after_the_search_the_script_runs_on_to_the_search_of_another_tuner(tmp_path: Path) -> None:
    marks = [f"open({str(tmp_path / name)!r}, 'w')\n" for name in ("first", "second")]
    run_past_search(space(tmp_path, RANDOM + SEARCH + marks[0] + OTHER + marks[1]), lambda search: None)
    assert ((tmp_path / "first").exists(), (tmp_path / "second").exists()) == (True, False)


def test_an_error_after_the_search_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"fails after search\(\): KeyError: 'a'"):
        run_past_search(space(tmp_path, RANDOM + SEARCH + "{}['a']\n"), lambda search: None)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "from sklearn.linear_model import Ridge\n"
            "oracle = keras_tuner.oracles.RandomSearchOracle(keras_tuner.Objective('score', 'max'))\n"
            "tuner = keras_tuner.tuners.SklearnTuner(oracle, lambda hp: Ridge(hp.Float('a', 0, 1)))\n"
            "tuner.search(x, y)\n",
            "the Tuner SklearnTuner trains no Keras models",
        ),
        (
            "class Box(keras_tuner.RandomSearch):\n    def run_trial(self, trial):\n"
            "        return trial.hyperparameters.Float('a', 0, 1)\ntuner = Box(max_trials=2)\ntuner.search()\n",
            "the Tuner Box has no hypermodel",
        ),
    ],
    ids=["sklearn", "black box"],
)
def test_a_tuner_without_keras_models_is_refused_before_the_first_trial(
    body: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ScriptError, match=sentence):
        searched(tmp_path, body)


def test_a_backend_that_the_script_chooses_too_late_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = keras.backend.backend()
    monkeypatch.setenv("KERAS_BACKEND", running)
    choice = "import os\nos.environ['KERAS_BACKEND'] = {!r}\n"
    searched(tmp_path, choice.format(running) + RANDOM + SEARCH)
    with pytest.raises(ScriptError, match=f"sets KERAS_BACKEND=other, but cifake-tune runs it with {running}"):
        searched(tmp_path, f"{choice.format('other')}{RANDOM}try:\n    {SEARCH}except Exception:\n    pass\n")


def test_hyperparameters_of_run_trial_and_fit_are_searched(tmp_path: Path) -> None:
    body = """
class Model(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)
    def fit(self, hp, model, x, y, **kwargs):
        return model.fit(x * hp.Float("scale", 1, 2), y, **kwargs)

class Own(keras_tuner.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        kwargs["batch_size"] = trial.hyperparameters.Choice("batch", [4, 8])
        return super().run_trial(trial, *args, **kwargs)

tuner = Own(Model(), "val_loss")
"""
    whole = searched(tmp_path, body + SEARCH, script_space)
    assert {hyperparameter.name for hyperparameter in whole.space} == {"units", "scale", "batch"}


def test_hyperparameters_that_are_not_tuned_are_not_searched(tmp_path: Path) -> None:
    body = """
given = keras_tuner.HyperParameters()
given.Float("rate", 0.1, 0.2)
tuner = keras_tuner.RandomSearch(build, "val_loss", hyperparameters=given, tune_new_entries=False)
"""
    whole = searched(tmp_path, body + SEARCH, script_space)
    assert [hyperparameter.name for hyperparameter in whole.space] == ["rate"]


def test_a_search_without_hyperparameters_is_refused(tmp_path: Path) -> None:
    body = "tuner = keras_tuner.RandomSearch(lambda hp: keras.Sequential([keras.layers.Dense(1)]), 'val_loss')\n"
    with pytest.raises(ScriptError, match="has no hyperparameters before its first trial"):
        searched(tmp_path, HEAD + body + SEARCH, script_space)


def test_hyperparameters_in_loops_are_searched(tmp_path: Path) -> None:
    body = """
def deep(hp):
    model = keras.Sequential([keras.Input((2,))])
    for layer in range(hp.Int("layers", 1, 3)):
        model.add(keras.layers.Dense(hp.Int(f"units_{layer}", 1, 3)))
    model.compile("adam", "mse")
    return model
tuner = keras_tuner.RandomSearch(deep, "val_loss")
"""
    whole = searched(tmp_path, body + SEARCH, script_space)
    assert {hyperparameter.name for hyperparameter in whole.space} == {"layers", "units_0", "units_1", "units_2"}
