"""`from cifake_tune import open_study`: what it returns of a study, and what it loads."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifake_tune import CifakeTuneError, StudyResults, open_study
from tests.compatibility.conftest import STUDY, unpack
from tests.support.command_line import run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.evaluation.result import Metrics
from tuner.study import journal
from tuner.study.records import Created, Leased, Opened, Record, Reported

ROOT = Path(__file__).parents[2]
HEAVY = ("google", "grpc", "jax", "keras", "keras_tuner", "matplotlib", "prometheus_client", "tensorflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bucket of a finished study. Not to be changed."""
    return unpack("finished", tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def study(folder: Path) -> StudyResults:
    return open_study(folder / "bucket", STUDY)


# ---- what it returns ----------------------------------------------------------------------------
def test_its_trials_are_those_of_the_command(study: StudyResults) -> None:
    listed = json.loads(run_in_process("trials", "--bucket", study.bucket_url, "--json").out)
    assert [trial.model_dump(mode="json") for trial in study.trials] == listed
    assert len(listed) == 4


def test_the_name_may_be_left_out_where_the_bucket_has_one_study(study: StudyResults) -> None:
    opened = open_study(study.bucket_url)
    assert (opened.name, opened.status.best_trial) == (STUDY, study.status.best_trial)
    assert repr(opened) == f"open_study({study.bucket_url!r}, {STUDY!r})"


def test_curves_have_a_value_of_every_metric_for_every_epoch(study: StudyResults) -> None:
    curves = study.curves()
    assert {trial_id: len(curve.epochs) for trial_id, curve in curves.items()} == {
        trial.trial_id: trial.epochs for trial in study.trials
    }
    best = curves[study.status.best_trial or ""]
    assert best.epochs[:2] == (1, 2)
    assert min(best.metrics["val_loss"]) == study.status.best_score
    assert {len(values) for values in best.metrics.values()} == {len(best.epochs)}


def test_the_evaluation_is_metrics_json(study: StudyResults, folder: Path) -> None:
    written = json.loads((folder / "bucket" / names.evaluation(STUDY, names.METRICS_JSON)).read_text())
    evaluation = study.evaluation
    assert isinstance(evaluation, Metrics)
    assert evaluation.accuracy == written["accuracy"]


def test_a_data_frame_has_a_row_per_trial(study: StudyResults) -> None:
    frame = study.dataframe()
    assert frame["trial_id"].tolist() == [trial.trial_id for trial in study.trials]
    assert frame["hyperparameters.learning_rate"].tolist() == [t.hyperparameters["learning_rate"] for t in study.trials]
    assert [time.timestamp() for time in frame["started"]] == pytest.approx([t.started for t in study.trials])
    assert str(frame["ended"].dt.tz) == "UTC"


def test_a_data_frame_of_epochs_has_a_row_per_epoch(study: StudyResults) -> None:
    frame = study.dataframe(epochs=True)
    curve = study.curves()["00001"]
    rows = frame[frame["trial_id"] == "00001"]
    assert rows["epoch"].tolist() == list(curve.epochs)
    assert rows["metrics.val_loss"].tolist() == list(curve.metrics["val_loss"])
    assert len(frame) == sum(trial.epochs for trial in study.trials)


def test_without_pandas_the_error_names_what_to_install(study: StudyResults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(CifakeTuneError, match=r"needs pandas, which is not installed\. Install cifake-tune\[pandas\]"):
        study.dataframe()


def test_the_best_hyperparameters_build_a_model(study: StudyResults) -> None:
    hyperparameters = study.best_hyperparameters()
    assert hyperparameters.values == study.status.best_hyperparameters
    assert hyperparameters.get("learning_rate") == 1.0
    assert hyperparameters.Choice("learning_rate", [0.5, 1.0, 2.0]) == 1.0  # as `build` does
    assert hyperparameters.Int("units", 8, 32) == 8


@pytest.mark.parametrize("is_evaluated", [True, False])
def test_the_best_model_is_the_evaluated_one_and_without_an_evaluation_the_best_checkpoint(
    is_evaluated: bool, tmp_path: Path
) -> None:
    import numpy as np

    from tuner.data.arrays import open_training
    from tuner.data.manifest import read_manifest
    from tuner.study.journal import read_study

    bucket = LocalBucket(unpack("finished", tmp_path) / "bucket")
    state = read_study(bucket, STUDY)
    data = open_training(
        bucket, read_manifest(bucket, state.data_digest), 0.2, state.settings.validation_seed, tmp_path
    )
    if is_evaluated:
        bucket.delete(state.best()[0].checkpoint or "")
    else:
        for file in list(bucket.list(names.evaluation(STUDY))):
            bucket.delete(file)
    model = open_study(bucket.url).best_model()
    images, labels = data.validation.images[:], data.validation.labels[:]
    outputs = model.predict(np.asarray(images, dtype="float32"), verbose=0)[:, 0]
    assert float(np.abs(outputs - labels).mean()) == state.best()[0].score  # the objective, val_loss


# ---- while the study runs -----------------------------------------------------------------------
def test_refresh_reads_what_was_recorded_since(tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path)
    trial = names.TrialId("00000")
    begun: list[Record] = [
        Opened(at=0, term=1, writer="w", study=load(settings=["name=night"]), data="0" * 64, direction="max"),
        Created(at=0, trial=trial, hyperparameters={}, algorithm={}),
        Leased(at=0, trial=trial, attempt=1, worker="w0", incarnation="i"),
    ]
    bucket.create(names.journal_segment("night", 1), journal.encode(1, "w", begun))
    study = open_study(tmp_path, "night")
    assert (study.curves(), study.evaluation) == ({}, None)
    with pytest.raises(CifakeTuneError, match="has no trial with a score and a saved model yet"):
        study.best_hyperparameters()
    with pytest.raises(CifakeTuneError, match="has no trial with a score and a saved model yet"):
        study.best_model()
    reports: list[Record] = [
        Reported(at=1, trial=trial, attempt=1, epoch=0, metrics={"val_accuracy": 0.5}, checkpoint=None),
        Reported(at=2, trial=trial, attempt=1, epoch=1, metrics={"val_accuracy": 0.6, "late": 1}, checkpoint=None),
    ]
    bucket.create(names.journal_segment("night", 2), journal.encode(2, "w", reports))
    assert study.curves() == {}
    study.refresh()
    curve = study.curves()["00000"]
    assert (curve.epochs, curve.metrics["val_accuracy"]) == ((1, 2), (0.5, 0.6))
    assert math.isnan(curve.metrics["late"][0])
    assert len(study.dataframe(epochs=True)) == 2
    assert study.dataframe()["ended"].isna().all()


@pytest.mark.parametrize(
    ("url", "name", "error"),
    [
        ("", None, "URL is empty"),
        ("ftp://bucket", None, "not supported"),
        ("nowhere", None, "has no study yet"),
        ("nowhere", "night", "has no study 'night'"),
    ],
)
def test_errors_are_sentences_of_one_class(url: str, name: str | None, error: str, tmp_path: Path) -> None:
    with pytest.raises(CifakeTuneError, match=error):
        open_study(tmp_path / url if url == "nowhere" else url, name)


# ---- what it loads, and whose modules -----------------------------------------------------------
def python(folder: Path, code: str) -> str:
    """Run code in a process whose working directory is the folder, and return what it prints."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CIFAKE_TUNE_", "PYTHON"))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr if done.returncode else "") == (0, "")
    return done.stdout


def test_importing_it_loads_nothing_and_reading_neither_a_backend_nor_grpc(folder: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); from cifake_tune import open_study\n"
        "third = {m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(third)); study = open_study('bucket')\n"
        "study.status, study.trials, study.curves(), study.evaluation, study.dataframe(), study.refresh()\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    imported, heavy = python(folder, code).splitlines()
    assert imported == "['cifake_tune', 'k8s', 'tuner']"
    assert heavy == "[]"


@pytest.fixture
def with_own_modules(folder: Path, tmp_path: Path) -> Path:
    """A folder with a bucket, and with the user's own `tuner.py` and package `k8s`."""
    (tmp_path / "tuner.py").write_text("MINE = 'tuner'\n")
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "__init__.py").write_text("MINE = 'k8s'\n")
    (tmp_path / "k8s" / "cluster.py").write_text("MINE = 'k8s.cluster'\n")
    (tmp_path / "bucket").symlink_to(folder / "bucket")
    return tmp_path


READ = "study = open_study('bucket'); print(len(study.trials), study.evaluation.images, len(study.curves()))\n"


@pytest.mark.parametrize("first", ["import tuner, k8s.cluster as first\n", ""], ids=["before", "afterwards"])
def test_it_works_beside_modules_of_the_user_that_are_imported(first: str, with_own_modules: Path) -> None:
    code = (
        f"{first}from cifake_tune import open_study, CifakeTuneError, StudyResults\n{READ}"
        "import tuner, k8s.cluster\nprint(tuner.MINE, k8s.MINE, k8s.cluster.MINE)\n"
        "assert isinstance(study, StudyResults)\n"
        "try: open_study('nowhere')\n"
        "except CifakeTuneError as error: print(type(error).__name__)\n"
        "study.refresh(); print(study.status.best_trial, tuner.MINE, sys.modules['tuner'] is tuner)\n"
        f"{'assert first is k8s.cluster' if first else ''}"
    )
    assert python(with_own_modules, f"import sys\n{code}").splitlines() == [
        "4 16 4",
        "tuner k8s k8s.cluster",
        "UsageError",
        "00001 tuner True",
    ]


def test_threads_of_the_user_read_at_the_same_time(with_own_modules: Path) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nimport tuner\nfrom cifake_tune import open_study\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    studies = list(pool.map(open_study, ['bucket'] * 16))\n"
        "    print(set(pool.map(lambda study: (len(study.trials), len(study.curves())), studies)))\n"
        "import tuner as again; print(again is tuner)"
    )
    assert python(with_own_modules, code) == "{(4, 4)}\nTrue\n"


def test_where_the_user_has_no_such_module_the_packages_stay_and_results_can_be_pickled(folder: Path) -> None:
    code = (
        "import pickle; from cifake_tune import open_study; study = open_study('bucket')\n"
        "print(pickle.loads(pickle.dumps(study.trials)) == study.trials)"
    )
    assert python(folder, code) == "True\n"


@pytest.mark.slow
def test_models_are_loaded_beside_modules_of_the_user(with_own_modules: Path) -> None:
    code = (
        f"from cifake_tune import open_study\n{READ}"
        "print(study.best_hyperparameters().values, study.best_model().count_params())\n"
        "import tuner; print(tuner.MINE)"
    )
    assert python(with_own_modules, code).splitlines()[1:] == ["{'learning_rate': 1.0} 4", "tuner"]
