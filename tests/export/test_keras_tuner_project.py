"""`export keras-tuner`: a project that stock Keras Tuner, in a process of its own, opens."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import keras_tuner  # whole: the command would import it without what other tests of this process need
import pytest

from tests.compatibility.conftest import HERE, STUDY, unpack
from tests.housekeeping.searches import Trained, write_search
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.errors import ExitCode
from tuner.spaces.deep import DeepSpace
from tuner.study import journal
from tuner.study.journal import read_study
from tuner.study.records import Created, Ended, Leased, Opened, Outcome, Record, Reported, TrialState

STOCK = """
import json, sys
import keras, keras_tuner, numpy
sys.path.insert(0, {space!r})
from exact_space import Exact
from pathlib import Path
objective = keras_tuner.Objective("val_loss", "min")
images = numpy.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype("float32")
measured = keras.saving.load_model({model!r}, compile=False).predict(images, verbose=0)
results = []
for kind, options in (("RandomSearch", dict(max_trials=6)), ("BayesianOptimization", dict(max_trials=6)),
                      ("GridSearch", dict(max_trials=6)), ("Hyperband", dict(max_epochs=4))):
    tuner = getattr(keras_tuner, kind)(
        Exact((8, 8, 3), 2), objective=objective, directory={directory!r}, project_name="project", **options
    )
    tuner.reload()
    results.append(dict(
        kind=kind,
        scores=[trial.score for trial in tuner.oracle.get_best_trials(4)],
        steps=[trial.best_step for trial in tuner.oracle.get_best_trials(4)],
        best=tuner.get_best_hyperparameters()[0].values,
        space=[hp.name for hp in tuner.oracle.get_space().space],
        curve=[each.value for each in tuner.oracle.get_best_trials()[0].metrics.get_history("val_loss")],
    ))
    tuner.results_summary()
random = keras_tuner.RandomSearch(
    Exact((8, 8, 3), 2), objective=objective, max_trials=6, directory={directory!r}, project_name="project"
)
differences = [
    float(abs(model.predict(images, verbose=0) - measured).max()) for model in random.get_best_models(2)
]
random.search(images, numpy.arange(16) % 2, validation_data=(images, numpy.arange(16) % 2), verbose=0)
values = [trial.hyperparameters.get("learning_rate") for trial in random.oracle.trials.values()]
answer = dict(results=results, values=values, differences=differences, loaded="tuner" in sys.modules)
Path({out!r}).write_text(json.dumps(answer))
"""


def export(bucket: Path | str, folder: Path, *options: str) -> Finished:
    return run_in_process("export", "keras-tuner", folder, "--bucket", bucket, *options)


@pytest.mark.slow
def test_stock_keras_tuner_reloads_it_and_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = unpack("finished", tmp_path) / "bucket"
    monkeypatch.chdir(tmp_path)  # where the study's space.code is `space`
    done = export(bucket, tmp_path / "out" / "project")
    assert done.code == ExitCode.DONE, done.err
    assert done.out.startswith(f"Exported 4 trials and the weights of 2 models to {tmp_path / 'out' / 'project'}.")
    program = STOCK.format(
        space=str(HERE / "space"),
        model=str(bucket / names.evaluation(STUDY, names.BEST_MODEL)),
        directory=str(tmp_path / "out"),
        out=str(tmp_path / "answer.json"),
    )
    (tmp_path / "stock.py").write_text(program)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERASTUNER")}
    subprocess.run(
        [sys.executable, "stock.py"], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300
    )
    answer = json.loads((tmp_path / "answer.json").read_text())
    state = read_study(LocalBucket(bucket), STUDY)
    ranked = state.ranking()
    assert [result["kind"] for result in answer["results"]] == [
        "RandomSearch", "BayesianOptimization", "GridSearch", "Hyperband",
    ]  # fmt: skip
    for result in answer["results"]:
        assert result["scores"] == [trial.score for trial in ranked]
        assert result["steps"] == [trial.best_epoch for trial in ranked]
        assert result["best"] == {"learning_rate": 1.0}
        assert result["space"] == ["learning_rate"]
        assert result["curve"] == [[metrics["val_loss"]] for metrics in ranked[0].metrics]
    best, second = answer["differences"]
    assert best == 0
    assert second > 0
    assert len(answer["values"]) == len(set(answer["values"])) == 6  # two more, none of which was tried before
    assert answer["loaded"] is False


@pytest.mark.slow
def test_the_weights_of_the_built_in_spaces_load_into_what_they_build(tmp_path: Path) -> None:
    """`deep` averages weights and mixes images in training, with layers and a model class of its own."""
    import numpy as np

    bucket = LocalBucket(tmp_path / "bucket")
    hyperparameters = keras_tuner.HyperParameters()
    model = DeepSpace((32, 32, 3), 2).build(hyperparameters)
    values = dict(hyperparameters.values)
    model.save(tmp_path / "model.keras")
    trial, checkpoint = names.TrialId("00000"), names.checkpoint("night", "00000", 1, 0)
    bucket.upload(checkpoint, tmp_path / "model.keras")
    records: list[Record] = [
        Opened(at=0, term=1, writer="w", study=load(settings=["name=night"]), data="0" * 64, direction="max"),
        Created(at=1, trial=trial, hyperparameters=values, algorithm={}),
        Leased(at=2, trial=trial, attempt=1, worker="w0", incarnation="i"),
        Reported(at=3, trial=trial, attempt=1, epoch=0, metrics={"val_accuracy": 0.5}, checkpoint=checkpoint),
        Ended(at=4, trial=trial, attempt=1, state=TrialState.COMPLETED, score=0.5, best_epoch=0),
    ]
    bucket.create(names.journal_segment("night", 1), journal.encode(1, "w", records))
    assert export(bucket.url, tmp_path / "project").code == ExitCode.DONE
    tuner = keras_tuner.RandomSearch(
        DeepSpace((32, 32, 3), 2), objective=keras_tuner.Objective("val_accuracy", "max"), max_trials=1,
        directory=str(tmp_path), project_name="project",
    )  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("float32")
    [best] = tuner.get_best_models()
    assert np.abs(best.predict(images, verbose=0) - model.predict(images, verbose=0)).max() < 1e-6
    keras.backend.clear_session()


def test_failed_trials_have_no_score_and_trials_that_have_not_ended_are_left_out(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    write_search(bucket, "night", [Trained(1, 0.5)], finished=False)
    for name in list(bucket.list(names.trials_prefix("night"))):
        bucket.delete(name)  # these are no models
    failed, queued = names.TrialId("00001"), names.TrialId("00002")
    records: list[Record] = [
        Created(at=2e6, trial=failed, hyperparameters={"units": 8}, algorithm={}),
        Leased(at=2e6, trial=failed, attempt=1, worker="w0", incarnation="i"),
        Ended(at=2e6, trial=failed, attempt=1, state=TrialState.FAILED, outcome=Outcome.FAILED, reason="it is broken"),
        Created(at=2e6, trial=queued, hyperparameters={"units": 9}, algorithm={}),
    ]
    bucket.create(names.journal_segment("night", 2), journal.encode(2, "w", records))
    done = export(bucket.url, tmp_path / "project")
    assert "Exported 2 trials and the weights of 0 models" in done.out
    assert "1 that have not ended are left out" in done.out
    trial = json.loads((tmp_path / "project" / "trial_00001" / "trial.json").read_text())
    assert (trial["status"], trial["score"], trial["message"]) == ("FAILED", None, "it is broken")
    assert not (tmp_path / "project" / "trial_00002").exists()


def test_nothing_is_overwritten_and_what_fails_leaves_nothing(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    write_search(bucket, "night", [Trained(1, 0.5)])  # whose models are damaged
    done = export(bucket.url, tmp_path / "project")
    assert done.code == ExitCode.ENVIRONMENT
    assert f"{names.checkpoint('night', '00000', 1, 0)} is not a saved model" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket"]
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine").touch()
    done = export(bucket.url, tmp_path / "project")
    assert done.code == ExitCode.USAGE
    assert "project exists already. Choose another folder, or delete it first." in done.err
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["mine"]


def test_a_search_without_an_ended_trial_gives_nothing_to_export(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "bucket")
    write_search(bucket, "night", [])
    done = export(bucket.url, tmp_path / "project")
    assert done.code == ExitCode.NO_RESULT
    assert "has no trial that has ended, so there is nothing to export" in done.err
