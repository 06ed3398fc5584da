"""Spaces that bring their own data: each is killed in the middle of a trial, resumed, evaluated and trained again."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration import support
from tests.integration.in_process import do_here
from tests.integration.support import RUN_S, SPACES, Place, python_with, settings
from tuner import names
from tuner.bucket import open_bucket
from tuner.evaluation.provenance import Provenance
from tuner.evaluator.reproduce import reproduce
from tuner.local.children import share_of_cores
from tuner.study.state import StudyState
from tuner.study.trial import Trial

EPOCHS = 4
AGAIN = """
import json, sys
from pathlib import Path
from tuner import names
from tuner.bucket import open_bucket
from tuner.evaluation.provenance import Provenance
from tuner.evaluator.reproduce import reproduce

bucket = open_bucket(sys.argv[1])
provenance = Provenance.model_validate_json(bucket.read(names.evaluation("cifake", names.PROVENANCE_JSON)))
Path("again").mkdir()
print(json.dumps(reproduce(provenance, bucket, Path("again")).metrics))
"""


@dataclass
class Searched:
    """A search of one trial, whose worker was killed in its third epoch."""

    place: Place
    output: str

    @property
    def trial(self) -> Trial:
        """The trial."""
        return next(iter(self.place.state().trials.values()))

    def evaluation(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        content: dict[str, Any] = json.loads(
            self.place.bucket.read(names.evaluation(self.place.study, names.METRICS_JSON))
        )
        return content

    def assert_trains_again(self) -> None:
        """Train the trial without an interruption: the epochs' metrics must be the same, with JAX bit for bit."""
        done = subprocess.run(
            [python_with(self.place.backend), "-c", AGAIN, str(self.place.bucket_folder)],
            cwd=self.place.folder, capture_output=True, check=False, timeout=RUN_S,
            env={**self.place.environment, **share_of_cores(1)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        again = {int(epoch): metrics for epoch, metrics in json.loads(done.stdout.splitlines()[-1]).items()}
        rounding = 0.0 if self.place.backend == "jax" else 1e-5  # the threads of TensorFlow add in any order
        for epoch, metrics in again.items():
            assert metrics == pytest.approx(self.trial.epochs[epoch], rel=rounding, abs=0.0)
        assert max(again) >= 2, "the best epoch must be one after the kill"


def run_and_kill(place: Place, space: str, objective: str, direction: str = "auto") -> Searched:
    """Run a search of one trial, kill its worker in the third epoch, and let it end."""
    hold = place.gate / "hold-2"
    hold.touch()
    command = place.start(
        "run",
        *settings(space__import_=f"own_data_spaces:{space}", space__code=SPACES, data__own="true"),
        *settings(search__objective=objective, search__max_trials=1, training__epochs=EPOCHS, data__batch_size=16),
        *settings(search__direction=direction),
    )

    def held(state: StudyState) -> bool:
        return any(max(trial.epochs, default=0) == 1 for trial in state.trials.values())

    place.wait_for(held, "a trial in its third epoch", command)
    place.kill(signal.SIGKILL, "worker")
    hold.unlink()
    done = command.wait()
    assert done.code == 0, done.err + place.logs()
    return Searched(place, done.output)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    with support.place(tmp_path_factory.mktemp("regression")) as place:
        yield run_and_kill(place, "Regression", "val_mae")


def test_a_killed_regression_on_arrays_resumes_and_ends_with_the_numbers_of_one_that_was_not(
    regression: Searched,
) -> None:
    assert regression.trial.attempts == 2
    assert sorted(regression.trial.epochs) == list(range(EPOCHS))
    assert regression.trial.score == min(metrics["val_mae"] for metrics in regression.trial.epochs.values())
    regression.assert_trains_again()


def test_the_evaluation_of_a_regression_has_its_metrics_and_no_accuracy(regression: Searched) -> None:
    evaluation = regression.evaluation()
    assert evaluation["results"].keys() == {"loss", "mae"}
    assert 0 < evaluation["results"]["mae"] < 10
    assert (evaluation["verified"], evaluation["samples"], evaluation["data_digest"]) == (False, 40, "own")
    assert not {"accuracy", "confusion_matrix", "classes", "calibration", "robustness"} & evaluation.keys()
    folder = regression.place.bucket_folder / names.evaluation(regression.place.study)
    assert {file.name for file in folder.iterdir()} == {
        names.METRICS_JSON, names.PROVENANCE_JSON, names.REPORT_HTML, names.MODEL_CARD, names.BEST_MODEL,
    }  # fmt: skip
    assert "own_data_spaces:Regression brings its own data (data.own), so nothing is packed" in regression.output
    assert "not verified" in regression.output
    assert not (regression.place.bucket_folder / "data").exists()


def test_commands_read_a_study_with_its_own_data(regression: Searched) -> None:
    place = regression.place
    assert do_here(place, "trials").code == do_here(place, "status").code == 0
    evaluated = do_here(place, "evaluate")
    assert (evaluated.code, "mae" in evaluated.out) == (0, True)
    assert do_here(place, "report").code == 0
    page = (place.bucket_folder / names.evaluation(place.study, names.REPORT_HTML)).read_text()
    assert "model.evaluate() on 40 test samples" in page
    assert "not verified" in page
    refused = do_here(place, "predict", "image.png")
    assert refused.code == 2
    assert "has its own data or evaluation" in refused.error
    assert "load_model() in your own code" in refused.error


def test_a_killed_search_of_images_with_several_labels_resumes_and_uses_the_spaces_evaluate(place: Place) -> None:
    searched = run_and_kill(place, "MultiLabel", "val_per_label", "max")
    assert searched.trial.attempts == 2
    searched.assert_trains_again()
    evaluation = searched.evaluation()
    assert evaluation["results"].keys() == {"exact matches", "per_label"}
    assert (evaluation["own_evaluate"], evaluation["samples"]) == (True, None)
    assert evaluation["results"]["per_label"] > 0.6
    log = next((place.cache / "logs").rglob("worker-0.log")).read_text()
    assert "the evaluation works; on the validation data, it returns exact matches, per_label" in log
    assert "exact matches" in searched.output


def test_a_killed_search_on_a_tf_data_pipeline_resumes_and_ends_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with support.place(tmp_path / "place", backend="tensorflow") as place:
        searched = run_and_kill(place, "Pipeline", "val_accuracy")
        assert searched.trial.attempts == 2
        assert searched.evaluation()["results"].keys() == {"accuracy", "loss"}
        bucket = open_bucket(str(place.bucket_folder))
        origin = Provenance.model_validate_json(bucket.read(names.evaluation(place.study, names.PROVENANCE_JSON)))
        for name, value in share_of_cores(1).items():
            monkeypatch.setitem(os.environ, name, value)
        again = reproduce(origin, bucket, tmp_path).metrics
        for epoch, metrics in again.items():
            assert metrics == pytest.approx(searched.trial.epochs[epoch], rel=1e-5)
