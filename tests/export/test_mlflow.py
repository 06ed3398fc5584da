"""`export mlflow` writes a study to a real MLflow server, and nothing twice, whatever happens to the requests."""

import base64
import json
import socket
import sys
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path

import pytest

from tests.support.command_line import Finished, run_in_process
from tests.support.fault_proxy import Fault, Request, running_proxy
from tests.support.growing_study import GrowingStudy, searched
from tests.support.http_server import QuietHandler, server_of, serving
from tests.support.mlflow_server import ShownRun, mlflow_server, shown_runs
from tuner import names
from tuner.errors import ExitCode
from tuner.study.records import Ended, Leased, Outcome, Retried, TrialState

SECRET = "geheim"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


def export(study: GrowingStudy, url: str, **environment: str) -> Finished:
    return run_in_process("export", "mlflow", url, "--bucket", study.bucket.url, environment=environment)


def exported(study: GrowingStudy, url: str) -> list[ShownRun]:
    """Return what the server shows after an export."""
    done = export(study, url)
    assert done.code == ExitCode.DONE, done.err
    return shown_runs(url, study.name)


# ---- what is written ----------------------------------------------------------------------------
@pytest.mark.slow
def test_a_study_is_a_run_with_a_nested_run_for_each_trial(tmp_path: Path, server: str) -> None:
    study = searched(tmp_path, "plain")
    done = export(study, server)
    assert (done.code, done.out) == (ExitCode.DONE, f"Exported study plain with 2 trials to {server}.\n")
    first, second, parent = shown_runs(server, "plain")
    assert first.points == {"val_accuracy": [(1, 0.8), (2, 0.9)], "score": [(2, 0.9)]}
    assert (first.params, second.params) == ({"units": "0"}, {"units": "8"})
    assert (first.status, first.ended_ms, second.name) == ("FINISHED", 150_000, "00001")
    assert {run.tags["mlflow.parentRunId"] for run in (first, second)} == {parent.run_id}
    assert parent.points == {"score": [(1, 0.9)]}  # the second trial is no improvement
    assert (parent.name, parent.status, parent.ended_ms) == ("plain", "FINISHED", 1_000_000)
    assert (parent.tags["cifake_tune.best_trial"], parent.tags["cifake_tune.state"]) == ("00000", "finished")


@pytest.mark.slow
def test_a_second_export_adds_what_is_new_and_nothing_twice(tmp_path: Path, server: str) -> None:
    study = GrowingStudy(tmp_path, "growing")
    trial = study.start(0, units=8)
    study.report(trial, 0, val_accuracy=0.5)
    assert [run.status for run in exported(study, server)] == ["RUNNING", "RUNNING"]
    study.report(trial, 1, val_accuracy=0.6, late=1.0)
    before = exported(study, server)
    assert before[0].points == {"val_accuracy": [(1, 0.5), (2, 0.6)], "late": [(2, 1.0)]}
    assert exported(study, server) == before
    study.complete(trial, 0.6, best_epoch=1)
    study.finish()
    after = exported(study, server)
    assert [run.status for run in after] == ["FINISHED", "FINISHED"]
    assert after[0].points == {**before[0].points, "score": [(2, 0.6)]}
    assert exported(study, server) == after


@pytest.mark.slow
@pytest.mark.parametrize("is_finished", [False, True])
def test_a_second_export_only_reads(tmp_path: Path, server: str, is_finished: bool) -> None:
    study = GrowingStudy(tmp_path, f"read-{is_finished}".lower())
    trial = study.start(0, units=8)
    study.report(trial, 0, val_accuracy=0.5, loss=nan, huge=inf)
    if is_finished:
        study.complete(trial, 0.5, best_epoch=0)
        study.finish()
    exported(study, server)
    paths: list[str] = []
    with running_proxy(server) as proxy:
        proxy.observer = lambda request, status: paths.append(request.target.partition("?")[0].rpartition("mlflow/")[2])
        exported(study, proxy.url)
        sent = [path for path in paths if path != "runs/search"]  # the server also answers `shown_runs`
    reading = {"experiments/get-by-name", "metrics/get-history"}
    assert "experiments/get-by-name" in sent
    assert set(sent) <= reading


@pytest.mark.slow
def test_a_trial_that_is_retried_continues_in_its_run(tmp_path: Path, server: str) -> None:
    study = GrowingStudy(tmp_path, "retried")
    trial = study.start(0, units=8)
    study.write(
        Ended(at=5, trial=trial, attempt=1, state=TrialState.FAILED, outcome=Outcome.FAILED, reason="Boom\nTraceback")
    )
    other = study.start(1, units=16)
    study.report(other, 0, val_accuracy=0.4)
    study.complete(other, 0.4, best_epoch=0)
    study.finish(failed=True)
    failed, _, parent = exported(study, server)
    assert (failed.status, failed.tags["cifake_tune.reason"]) == ("FAILED", "Boom")
    assert (parent.status, parent.tags["cifake_tune.state"]) == ("FAILED", "gave up")
    study.write(study.opened(2), Retried(at=6, trials=(trial,)))
    study.write(Leased(at=7, trial=trial, attempt=2, worker="w0", incarnation="i"))
    study.report(trial, 0, attempt=2, val_accuracy=0.5)
    assert [run.status for run in exported(study, server)] == ["RUNNING", "FINISHED", "RUNNING"]
    study.complete(trial, 0.5, best_epoch=0, attempt=2)
    study.finish()
    again, _, parent = exported(study, server)
    assert (again.run_id, again.status, again.tags["cifake_tune.attempts"]) == (failed.run_id, "FINISHED", "2")
    assert again.points == {"val_accuracy": [(1, 0.5)], "score": [(1, 0.5)]}
    assert (parent.status, parent.points) == ("FINISHED", {"score": [(1, 0.4), (2, 0.5)]})


@pytest.mark.slow
def test_odd_names_and_values_are_written(tmp_path: Path, server: str) -> None:
    study = GrowingStudy(tmp_path, "odd")
    values = {"f(x)": 1, "f[x]": 2, "/abs/../path": True, "text": "é" * 9000, "empty": "", "tuner/epochs": 3}
    trial = study.start(0, **values, **{f"layer {number}": number for number in range(120)})
    study.report(trial, 0, val_accuracy=0.5, loss=nan, huge=inf, score=7.0, attempt=1, **{"p@5": 1.0})
    study.complete(trial, 0.5, best_epoch=0)
    run, _ = exported(study, server)
    assert (run.params["f_x_"], run.params["f_x__2"], run.params["abs/path"]) == ("1", "2", "True")
    assert (len(run.params), run.params["text"][:2], run.params["layer 119"]) == (125, "éé", "119")
    assert (run.points["p_5"], run.points["score"], run.points["score_2"]) == ([(1, 1.0)], [(1, 0.5)], [(1, 7.0)])
    assert {key: len(points) for key, points in run.points.items()} == dict.fromkeys(run.points, 1)
    again, _ = exported(study, server)
    assert str(again.points) == str(run.points)  # NaN is not equal to itself


@pytest.mark.slow
def test_many_epochs_take_several_requests(tmp_path: Path, server: str) -> None:
    study = GrowingStudy(tmp_path, "long")
    trial = study.start(0)
    for epoch in range(30):
        study.report(trial, epoch, 1, **{f"metric {number}": float(epoch) for number in range(40)})
    run, _ = exported(study, server)
    assert len(run.points) == 40
    assert {tuple(points) for points in run.points.values()} == {tuple((e + 1, float(e)) for e in range(30))}


@pytest.mark.slow
def test_a_study_of_the_same_name_has_its_own_runs(tmp_path: Path, server: str) -> None:
    one, other = (searched(tmp_path / writer, "twins", writer) for writer in ("a", "b"))
    assert len(exported(one, server)) == 3
    assert len(exported(other, server)) == 6
    assert len(exported(one, server)) == 6


@pytest.mark.slow
def test_the_experiment_can_be_chosen_with_mlflows_own_variable(tmp_path: Path, server: str) -> None:
    assert export(searched(tmp_path, "moved"), server, MLFLOW_EXPERIMENT_NAME="my team").code == ExitCode.DONE
    assert [run.name for run in shown_runs(server, "my team")] == ["00000", "00001", "moved"]
    assert shown_runs(server, "moved") == []


# ---- when requests fail -------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.CUT_BEFORE, Fault.UNAVAILABLE])
def test_whatever_request_fails_the_next_export_completes_without_duplicates(
    tmp_path: Path, server: str, fault: Fault
) -> None:
    study = searched(tmp_path, f"cut-{fault.value.replace('_', '-')}")
    failures = 0
    with running_proxy(server) as proxy:
        while True:  # each time, one request more succeeds first
            proxy.script.clear()
            proxy.script.extend([*[Fault.NONE] * failures, fault])
            done = export(study, proxy.url)
            if proxy.script:
                break  # the export needed fewer requests
            assert done.code == ExitCode.ENVIRONMENT, done.err
            failures += 1
    assert failures > 5
    assert done.code == ExitCode.DONE, done.err
    exact = exported(searched(tmp_path / "exact", f"exact-{fault.value.replace('_', '-')}"), server)
    runs = shown_runs(server, study.name)
    assert [(run.points, run.params, run.status) for run in runs] == [
        (run.points, run.params, run.status) for run in exact
    ]


@pytest.mark.slow
def test_a_run_that_was_created_late_is_deleted(tmp_path: Path, server: str) -> None:
    from mlflow import MlflowClient

    study = searched(tmp_path, "late")
    first, _, parent = exported(study, server)
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("late")
    for run in (first, parent):
        client.create_run(experiment.experiment_id, tags=run.tags, run_name=run.name)
    runs = exported(study, server)
    assert [run.name for run in runs] == ["00000", "00001", "late"]
    assert {run.tags["mlflow.parentRunId"] for run in runs[:2]} == {runs[2].run_id}
    assert [run.points for run in runs] == [run.points for run in exported(study, server)]
    assert runs[0].points == first.points


# ---- credentials and errors ---------------------------------------------------------------------
@pytest.mark.slow
def test_credentials_are_mlflows_own_variables_and_appear_nowhere(tmp_path: Path, server: str) -> None:
    heads: list[str] = []

    def observe(request: Request, status: int) -> None:
        heads.append(request.head.decode())

    study = searched(tmp_path, "signed")
    with running_proxy(server) as proxy:
        proxy.observer = observe
        done = export(study, proxy.url, MLFLOW_TRACKING_USERNAME="me", MLFLOW_TRACKING_PASSWORD=SECRET)
    assert done.code == ExitCode.DONE, done.err
    expected = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert heads
    assert all(f"Authorization: Basic {expected}" in head for head in heads)
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"http://me:{SECRET}@mlflow:5000", "must be a URL without user, password and query"),
        (f"http://me:a/{SECRET}@mlflow:5000", "must be"),
        (f"http://mlflow:5000?token={SECRET}", "must be a URL without user, password and query"),
        ("http://mlflow:port", "must be the URL of an MLflow server, such as http://mlflow:5000"),
        ("sqlite:///mlflow.db", "must be the URL of an MLflow server, such as http://mlflow:5000"),
        ("mlflow", "must be the URL of an MLflow server, such as http://mlflow:5000"),
        ("http://", "must be the URL of an MLflow server, such as http://mlflow:5000"),
    ],
)
def test_a_wrong_url_is_refused_and_a_secret_in_it_is_not_repeated(tmp_path: Path, url: str, error: str) -> None:
    study = searched(tmp_path, "refused")
    by_command = export(study, url)
    by_setting = run_in_process("chief", "--bucket", tmp_path, "--set", f"tracking.mlflow={json.dumps(url)}")
    for done in by_command, by_setting:
        assert done.code == ExitCode.USAGE
        assert error in done.err
        assert SECRET not in done.err


@pytest.mark.parametrize("command", ["export", "run", "chief"])
def test_without_mlflow_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    study = searched(tmp_path, "lacking")
    if command == "export":
        done = export(study, "http://mlflow:5000")
    else:
        addresses = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: "9"}
        setting = "tracking.mlflow=http://mlflow:5000"
        done = run_in_process(command, "--bucket", tmp_path / "b", "--set", setting, environment=addresses)
    assert done.code == ExitCode.USAGE
    assert "MLflow is not installed. Install cifake-tune[mlflow] or mlflow-skinny" in done.err


@pytest.mark.slow
def test_an_address_that_is_no_mlflow_server_is_an_error_of_the_environment(tmp_path: Path, server: str) -> None:
    done = export(searched(tmp_path, "nowhere"), f"{server}/no/{SECRET}")
    assert done.code == ExitCode.ENVIRONMENT
    assert f"the MLflow server at {server} does not answer as expected (" in done.err
    assert SECRET not in done.err


@pytest.mark.slow
def test_an_unreachable_server_is_an_error_of_the_environment(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    done = export(searched(tmp_path, "closed"), url)
    assert done.code == ExitCode.ENVIRONMENT
    assert f"the MLflow server at {url} does not answer as expected (ConnectionError). Check the URL" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(("status", "code"), [(401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED")])
def test_refused_credentials_are_an_error_that_names_the_variables(tmp_path: Path, status: int, code: str) -> None:
    class Refusing(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name of the base class)
            self.send_error(status)  # as MLflow's own authentication and most proxies answer, without JSON

    with serving(server_of(Refusing)) as url:
        done = export(searched(tmp_path, "refusing"), url)
    assert done.code == ExitCode.USAGE
    assert f"the MLflow server at {url} refuses the credentials ({code}). Set MLFLOW_TRACKING_USERNAME" in done.err
