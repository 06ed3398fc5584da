"""Scripts as people write them run with two workers, one of which is killed. Keras Tuner itself runs the same files."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import FASTEST_BACKEND, Done, Place, place, python_with
from tuner import names
from tuner.config.space_settings import Space
from tuner.evaluation.own_result import OwnMetrics
from tuner.evaluation.result_files import read_metrics
from tuner.scripts.session import run_to_search
from tuner.scripts.space import script_space
from tuner.study.records import Leased
from tuner.study.state import StudyState
from tuner.study.trial import SCORED

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Example:
    """A script, and what is known of it."""

    name: str
    evaluated: set[str]
    """The numbers of its first `model.evaluate`, or the objective."""
    printed: str
    """A part of what it prints after its search."""
    same: int
    """Number of trials whose hyperparameters depend on the seed only, not on the results of others."""
    learned: frozenset[str] = frozenset()
    """Hyperparameters that Keras Tuner learns only from trials, the first of which has their defaults."""
    stock_fails: str = ""
    """A part of Keras Tuner's own error, if it cannot run the script to its end."""
    backend: str = FASTEST_BACKEND
    is_brief: bool = False
    """Whether a trial may end between its first epoch and the kill, so that the worker is killed before the epoch."""


EXAMPLES_BY_NAME = {
    example.name: example
    for example in (
        Example("distributed_guide", {"loss", "accuracy"}, "[", 1, backend="tensorflow"),
        Example("getting_started", {"loss", "accuracy"}, "Trial 0000", 3),
        Example("tabular_regression", {"loss", "mae"}, "test MAE", 1, frozenset({"units_1", "units_2"})),
        Example(
            "text_classification",
            {"loss", "accuracy"},
            "accuracy on the test texts",
            1,
            frozenset({"rate"}),
            backend="tensorflow",
        ),
        Example("pipeline", {"loss", "acc"}, "", 1, stock_fails="should be deep-copyable", backend="tensorflow"),
        Example("autoencoder", {"loss"}, "reconstruction", 1, stock_fails="has not yet been built", is_brief=True),
        Example(
            "own_fit", {"val_accuracy"}, "'batch_size', 'normalize', 'units'", 1, frozenset({"batch_size", "normalize"})
        ),
        Example("conditional", {"loss"}, "best ", 1, frozenset({"width_1"}), is_brief=True),
    )
}


@dataclass(frozen=True)
class Outcome:
    """A script that was run here with a killed worker, and by Keras Tuner."""

    example: Example
    done: Done
    state: StudyState
    metrics: OwnMetrics
    stock: Path
    """Folder in which Keras Tuner has run it."""


@pytest.fixture(scope="module", params=EXAMPLES_BY_NAME)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    example = EXAMPLES_BY_NAME[request.param]
    study = example.name.replace("_", "-")
    stock = tmp_path_factory.mktemp("stock")
    with place(tmp_path_factory.mktemp("run"), study, backend=example.backend) as here:
        command = here.start("run", "--script", str(EXAMPLES / f"{example.name}.py"), "--workers", "2")
        here.wait_for(
            lambda state: any(trial.epochs or example.is_brief for trial in state.trials.values()),
            "a trial was under way",
            command,
        )
        _kill_a_worker(here)
        done = command.wait()
        assert done.code == 0, done.err + here.logs()
        metrics = read_metrics(here.bucket, study)
        assert isinstance(metrics, OwnMetrics)
        _run_stock(example, stock, here)
        yield Outcome(example, done, here.state(), metrics, stock)


def _kill_a_worker(here: Place) -> None:
    """Kill the worker that took the first trial."""
    worker = next(record.worker for record in here.records() if isinstance(record, Leased))
    variable = f"{names.ENV_TUNER_ID}={worker}\0".encode()
    [process] = [each for each in here.processes("worker") if variable in Path(f"/proc/{each}/environ").read_bytes()]
    os.kill(process, signal.SIGKILL)


def _run_stock(example: Example, folder: Path, here: Place) -> None:
    command = [python_with(example.backend), EXAMPLES / f"{example.name}.py"]
    for _ in range(3):
        done = subprocess.run(
            command, cwd=folder, env=here.environment, check=False, capture_output=True, text=True, timeout=300
        )
        if done.returncode != -signal.SIGSEGV:  # on a busy machine, a process of TensorFlow alone crashes now and then
            break
    assert (done.returncode != 0) == bool(example.stock_fails), done.stderr
    assert example.stock_fails in done.stderr


def _stock_trials(folder: Path) -> list[dict[str, Any]]:
    """Return the hyperparameters of the trials of the first Tuner, in order."""
    [project] = [file.parent for file in folder.glob("**/oracle.json") if file.parent.name != "second"]
    trials = [json.loads(file.read_text()) for file in project.glob("trial_*/trial.json")]
    ordered = sorted(trials, key=lambda trial: int(trial["trial_id"]))
    return [trial["hyperparameters"]["values"] for trial in ordered]


def _stock_space(folder: Path) -> set[str]:
    [file] = [file for file in folder.glob("**/oracle.json") if file.parent.name != "second"]
    return {each["config"]["name"] for each in json.loads(file.read_text())["hyperparameters"]["space"]}


def test_every_trial_ends_with_a_score_although_a_worker_was_killed(outcome: Outcome) -> None:
    assert outcome.state.finished is not None
    assert {trial.state for trial in outcome.state.trials.values()} <= SCORED


def test_what_the_script_evaluates_and_prints_after_its_search_is_kept(outcome: Outcome) -> None:
    script = outcome.metrics.script
    assert script is not None
    assert set(outcome.metrics.results) == outcome.example.evaluated
    assert outcome.example.printed in script.printed
    assert "not reached" not in script.printed


def test_the_space_is_that_of_keras_tuner(outcome: Outcome) -> None:
    space = Space(script=f"{outcome.example.name}.py", code=str(EXAMPLES))
    found: list[set[str]] = []
    run_to_search(space, lambda search: found.append({each.name for each in script_space(search).space}))
    stock = _stock_space(outcome.stock)
    assert found[0] - outcome.example.learned <= stock <= found[0]  # its few trials need not meet all


def test_the_first_suggestions_are_those_of_keras_tuner(outcome: Outcome) -> None:
    ours = [trial.hyperparameters for _, trial in sorted(outcome.state.trials.items())]
    for mine, stock in zip(ours[: outcome.example.same], _stock_trials(outcome.stock), strict=False):
        known = stock.keys() - outcome.example.learned
        assert {name: mine.get(name) for name in known} == {name: stock[name] for name in known}
