"""`cifake-tune run` on the built-in sample, from nothing to an evaluation, and the same command again."""

import csv
import gzip
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.in_process import do_here
from tests.integration.reproduce import assert_trains_again
from tests.integration.support import BACKENDS, FASTEST_BACKEND, Done, Place, place, python_with, settings, space
from tuner import names
from tuner.data.arrays import open_validation
from tuner.data.manifest import read_manifest
from tuner.evaluation.saved_model import load_model, probabilities
from tuner.study.records import TrialState

SMALL_SEED = {"filters": 20, "kernel_size": 2, "units_1": 100, "units_2": 100}
SPACES = {
    "tensorflow": ("tuner.spaces.seed:SeedSpace", settings(space__values=json.dumps(SMALL_SEED))),
    # JAX compiles every model of the built-in space, which takes most of the time. test_spaces trains this space
    "jax": ("user_spaces:GatedLine", space("GatedLine")),
}
"""By backend, the space and the arguments that choose it."""
ON_FASTEST = pytest.mark.parametrize("job", [FASTEST_BACKEND], indirect=True)
"""For what a backend has no part in. This job has three trials and two workers, the other one of each."""


@dataclass
class Job:
    """A job done, and what was seen of it meanwhile."""

    place: Place
    run: list[str]
    """The command, without the numbers of trials and workers."""
    trials: list[str]
    workers: int
    done: Done
    processes: dict[int, str]
    """Those of the workers, and their command lines."""
    meanwhile: dict[str, object]
    """What `status --json` said in the middle of it."""

    def evaluation(self, file: str) -> bytes:
        return self.place.bucket.read(names.evaluation(self.place.study, file))

    def logs(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self.place.cache / "logs" / self.place.study).iterdir()}


@pytest.fixture(scope="module", params=BACKENDS)
def job(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Job]:
    with place(tmp_path_factory.mktemp("job"), backend=request.param) as new_place:
        count, workers = (3, 2) if request.param == FASTEST_BACKEND else (1, 1)
        run = ["run", *settings(training__epochs=1, data__validation_seed=7, evaluation__robustness_images=40)]
        run += SPACES[request.param][1]
        trials = settings(search__max_trials=count)
        hold = new_place.gate / "hold-0"  # a trial takes less time than `status`
        hold.touch()
        command = new_place.start(*run, *trials, "--workers", str(workers))
        new_place.wait_for(lambda state: state.trials, "the first trial", command)
        processes = new_place.processes("worker")
        meanwhile = json.loads(do_here(new_place, "status", "--json").out)
        hold.unlink()
        yield Job(new_place, run, trials, workers, command.wait(), processes, meanwhile)


def test_it_says_that_it_uses_the_sample_and_ends_with_an_evaluation(job: Job) -> None:
    assert job.done.code == 0, job.done.err
    assert "built-in sample" in job.done.output
    assert "not CIFAKE" in job.done.output
    assert job.done.error == ""
    metrics = json.loads(job.evaluation(names.METRICS_JSON))
    assert {
        "accuracy",
        "accuracy_interval_95",
        "confusion_matrix",
        "classes",
        "images",
        "best_trial",
        "hyperparameters",
        "validation_accuracy",
    } <= set(metrics)
    assert f"{metrics['accuracy']:.2%}".replace("%", " %") in job.done.output


def test_the_accuracy_can_be_recomputed_from_the_predictions(job: Job) -> None:
    metrics = json.loads(job.evaluation(names.METRICS_JSON))
    text = gzip.decompress(job.evaluation(names.PREDICTIONS_CSV)).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["name", "label", "prediction", "probability", "sha256"]
    assert len({row["name"] for row in rows}) == len(rows) == metrics["images"] == 400
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert right / len(rows) == pytest.approx(metrics["accuracy"])
    assert sum(metrics["confusion_matrix"][i][i] for i in range(2)) == right


def test_the_best_model_is_in_the_evaluation(job: Job) -> None:
    assert job.evaluation(names.BEST_MODEL).startswith(b"PK")


@ON_FASTEST
def test_local_workers_are_processes_that_say_what_they_are(job: Job) -> None:
    assert len(job.processes) == job.workers == 2
    assert all("cifake-tune worker" in line for line in job.processes.values())


@ON_FASTEST
def test_status_answers_while_the_search_runs_and_afterwards(job: Job) -> None:
    assert (job.meanwhile["study"], job.meanwhile["state"]) == ("cifake", "unfinished")
    after = json.loads(do_here(job.place, "status", "--json").out)
    assert (after["state"], after["completed"]) == ("finished", 3)


@ON_FASTEST
def test_trials_lists_every_trial_with_the_keys_that_others_build_on(job: Job) -> None:
    trials = json.loads(do_here(job.place, "trials", "--json").out)
    keys = {
        "trial_id", "state", "attempts", "hyperparameters", "score",
        "epochs", "started", "ended", "worker", "rung", "reason", "verified", "repeats",
    }  # fmt: skip
    assert [set(trial) for trial in trials] == [keys] * 3
    assert [(trial["state"], trial["attempts"], trial["epochs"]) for trial in trials] == [("COMPLETED", 1, 1)] * 3
    assert [trial["verified"] for trial in trials] == [True] * 3


@ON_FASTEST
def test_tensorboards_files_hold_what_trials_says(job: Job) -> None:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    folder = job.place.bucket_folder / names.tensorboard_prefix(job.place.study)
    board = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    trials = {trial["trial_id"]: trial for trial in json.loads(do_here(job.place, "trials", "--json").out)}
    assert set(board.Runs()) == set(trials)
    for trial_id, trial in trials.items():
        assert {"accuracy", "loss", "val_accuracy", "val_loss"} <= set(board.Runs()[trial_id]["scalars"])
        curve = board.Scalars(trial_id, "val_accuracy")
        assert [event.step for event in curve] == list(range(1, trial["epochs"] + 1))
        assert trial["started"] < curve[0].wall_time <= trial["ended"]
        assert max(event.value for event in curve) == pytest.approx(trial["score"])
        assert [event.value for event in board.Scalars(trial_id, "score")] == pytest.approx([trial["score"]])


@ON_FASTEST
def test_only_the_best_two_trials_models_are_kept(job: Job) -> None:
    kept = set(job.place.bucket.list(names.trials_prefix(job.place.study)))
    assert kept == {trial.checkpoint for trial in job.place.state().best(2)}


@ON_FASTEST
def test_another_batch_size_is_refused_in_a_sentence(job: Job) -> None:
    record_count = len(job.place.records())
    done = do_here(job.place, *job.run, *job.trials, *settings(data__batch_size=64))
    assert done.code == 2
    assert done.error.startswith("error: ")
    assert done.error.count("\n") == 1
    assert "data.batch_size was 128, is now 64" in done.err
    assert "Traceback" not in done.err + done.out
    assert len(job.place.records()) == record_count


@ON_FASTEST
def test_the_same_command_again_searches_nothing_and_gives_the_same_result(job: Job) -> None:
    records = len(job.place.records())
    metrics = job.evaluation(names.METRICS_JSON)
    logs = job.logs()
    assert {"chief.log", "evaluate.log", "worker-0.log", "worker-1.log"} == set(logs)
    done = do_here(job.place, *job.run, *job.trials, "--workers", "2")
    assert done.code == 0, done.err
    assert "has finished: 3 trials" in done.output
    assert len(job.place.records()) == records
    assert job.evaluation(names.METRICS_JSON) == metrics  # it counts how often the test images were read
    assert job.logs() == logs  # neither chief nor evaluator was started


def test_the_best_trial_can_be_trained_again_from_its_provenance(job: Job) -> None:
    assert_trains_again(job.place, job.workers)
    origin = json.loads(job.evaluation(names.PROVENANCE_JSON))
    (stage,) = origin["stages"]
    assert [attempt["how"] for attempt in stage["attempts"]] == ["completed"]
    assert origin["code"]["space"] == SPACES[job.place.backend][0]
    assert origin["trained_with_keras"] == origin["evaluator"]["packages"]["keras"]


def test_trials_are_scored_on_the_validation_images_that_a_seed_of_their_own_chooses(job: Job, tmp_path: Path) -> None:
    state = job.place.state()
    manifest = read_manifest(job.place.bucket, state.data_digest)
    (tmp_path / "best.keras").write_bytes(job.evaluation(names.BEST_MODEL))
    model = load_model(tmp_path / "best.keras", "best.keras")

    def right(seed: int) -> float:
        held_out = open_validation(job.place.bucket, manifest, 0.1, seed, tmp_path / "cache")
        answers = probabilities(model, held_out.images, len(manifest.classes), 500).argmax(axis=1)
        return float((answers == held_out.labels).mean())

    (best,) = state.best()
    assert right(7) == pytest.approx(best.score, abs=1e-6)
    assert right(state.settings.seed) != pytest.approx(best.score, abs=1e-6)


def test_the_model_card_says_what_the_evaluation_found(job: Job) -> None:
    card, metrics = job.evaluation(names.MODEL_CARD).decode(), json.loads(job.evaluation(names.METRICS_JSON))
    assert f"{100 * metrics['accuracy']:.2f} %" in card
    assert metrics["data_digest"] in card
    assert "JPEG 75" in card
    assert "{" not in card


@pytest.mark.parametrize("job", ["jax"], indirect=True)
def test_jax_needs_no_tensorflow(job: Job) -> None:
    imported = subprocess.run(
        [python_with("jax"), "-c", "import tensorflow"], capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in imported.stderr
    assert b"jax" in job.logs()["worker-0.log"]


@ON_FASTEST
def test_more_trials_go_on_where_the_study_ended(job: Job, place: Place) -> None:
    shutil.copytree(job.place.bucket_folder, place.bucket_folder)
    trials = place.state().trials
    done = place.do(*job.run, *settings(search__max_trials=4))
    assert done.code == 0, done.err
    state = place.state()
    assert len(state.trials) == 4
    assert {trial_id: state.trials[trial_id] for trial_id in trials} == trials
    assert all(trial.state is TrialState.COMPLETED for trial in state.trials.values())
    assert len({tuple(trial.hyperparameters.items()) for trial in state.trials.values()}) == 4
    kept = set(place.bucket.list(names.trials_prefix(place.study)))
    assert kept == {trial.checkpoint for trial in state.best(2)}
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    assert metrics["best_trial"] == state.best()[0].trial_id
