"""Chief, workers, evaluator and commands of different versions work together, as during an upgrade."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compatibility.conftest import STUDY, results, unpack
from tests.compatibility.earlier_release import EarlierRelease
from tests.compatibility.make_studies import SETTINGS
from tests.integration.in_process import do_here
from tests.integration.support import Command, Place, place, python_with
from tests.support.evaluations import read_metrics
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.study.journal import read_study
from tuner.study.state import StudyState

pytestmark = pytest.mark.slow
Start = Callable[..., Command]


def with_other_fields(how: str) -> Callable[[Place, EarlierRelease], Start]:
    """Return what starts this version with other fields in its messages."""

    def starts(where: Place, _: EarlierRelease) -> Start:
        python = python_with("jax")
        command = [str(python), str(Path(__file__).with_name("other_fields.py")), how]
        return lambda *arguments, **environment: Command(
            where, arguments, python, {"KERAS_BACKEND": "jax", **environment}, command=command
        )

    return starts


def this(where: Place, _: EarlierRelease) -> Start:
    return lambda *arguments, **environment: where.start(*arguments, backend="jax", **environment)


def older(where: Place, earlier: EarlierRelease) -> Start:
    return lambda *arguments, **environment: earlier.start(where, *arguments, **environment)


def by_id(state: StudyState) -> list[object]:
    """Return the results of a study, which two workers may have completed in another order."""
    return sorted(results(state), key=repr)


@pytest.mark.parametrize(
    ("chief", "workers", "evaluator"),
    [
        pytest.param(this, (older, this), older, id="a worker and the evaluator of 0.1.0"),
        pytest.param(older, (this, older), this, id="the chief of 0.1.0"),
        pytest.param(
            this, (with_other_fields("more"), with_other_fields("fewer")), this, id="workers with other fields"
        ),
    ],
)
def test_they_search_and_evaluate_together_as_one_version_does(
    chief: Callable[[Place, EarlierRelease], Start],
    workers: tuple[Callable[[Place, EarlierRelease], Start], ...],
    evaluator: Callable[[Place, EarlierRelease], Start],
    earlier: EarlierRelease,
    finished: LocalBucket,
    tmp_path: Path,
) -> None:
    with place(unpack("unfinished", tmp_path / "place"), STUDY) as where:
        address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
        settings = [argument for setting in (*SETTINGS, "search.algorithm=random") for argument in ("--set", setting)]
        assert where.state().data_digest
        data = {"CIFAKE_TUNE_DATA": where.state().data_digest}
        serving = chief(where, earlier)("chief", *settings, **address, **data)
        reports = len(where.reports())
        first = workers[0](where, earlier)("worker", **address, **{names.ENV_TUNER_ID: "worker-a"})
        where.wait_for(lambda _: len(where.reports()) > reports, "an epoch of the first worker", serving)
        first.process.terminate()
        assert first.wait().code in (0, 143), where.logs()
        second = workers[1](where, earlier)("worker", **address, **{names.ENV_TUNER_ID: "worker-b"})
        assert second.wait().code == 0, where.logs()
        assert serving.wait().code == 0, where.logs()
        worked = {(record.worker) for record in where.records() if record.kind == "leased"}
        assert {"worker-a", "worker-b"} <= worked
        assert by_id(where.state()) == by_id(read_study(finished, STUDY))

        evaluating = evaluator(where, earlier)("evaluate", CIFAKE_TUNE_STUDY__NAME=STUDY)
        assert evaluating.wait().code == 0, where.logs()
        metrics, expected = read_metrics(where.bucket, STUDY), read_metrics(finished, STUDY)
        assert metrics is not None
        assert expected is not None
        assert (metrics.best_trial, metrics.confusion_matrix) == (expected.best_trial, expected.confusion_matrix)
        for reader in (do_here, earlier.do):
            status = json.loads(reader(where, "status", "--json", "--study", STUDY).out)
            assert (status["state"], status["best_trial"]) == ("finished", "00001")
            trials = json.loads(reader(where, "trials", "--json", "--study", STUDY).out)
            assert [trial["epochs"] for trial in trials] == [8, 8, 2, 2]


def test_a_worker_of_the_earlier_release_leaves_a_study_that_it_cannot_train(
    earlier: EarlierRelease, tmp_path: Path
) -> None:
    with place(unpack("unfinished", tmp_path / "place"), STUDY) as where:
        address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(free_port())}
        data = {"CIFAKE_TUNE_DATA": where.state().data_digest}
        settings = [argument for setting in (*SETTINGS, "name=other") for argument in ("--set", setting)]
        where.start("chief", *settings, backend="jax", **address, **data)  # with the default algorithm, TPE
        worker = earlier.start(where, "worker", **address, **{names.ENV_TUNER_ID: "worker-a"}).wait()
        assert worker.code == 2
        assert "has format 2.0, and this program reads 1.0" in worker.err + worker.out
        assert "Traceback" not in worker.err + worker.out
