"""`tracking.mlflow`: the chief reports a search to a real MLflow server, and never waits for it."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.support import RUN_S, Place, settings, space
from tests.support.command_line import run_in_process
from tests.support.mlflow_server import ShownRun, mlflow_server, shown_runs
from tests.support.scrape import until
from tuner.study.records import TrialState
from tuner.study.state import StudyState

TRIALS, EPOCHS = 3, 4
HUNG_S = 3600
"""Seconds that a call of the hung server takes: longer than any test."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


def run(data: str, name: str, url: str) -> tuple[str, ...]:
    return (
        *("run", "--data", data, "--workers", "1", *space("GatedLine"), *settings(name=name, tracking__mlflow=url)),
        *settings(search__max_trials=TRIALS, training__epochs=EPOCHS, data__batch_size=16),
        *settings(search__early_stopping__policy="none", evaluation__robustness_images=0),
    )


def of_journal(state: StudyState) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return the points that the runs of a study's trials must show, from its journal."""
    return {
        trial.trial_id: {
            **{
                metric: [(epoch + 1, trial.epochs[epoch][metric]) for epoch in sorted(trial.epochs)]
                for metric in trial.epochs[0]
            },
            "score": [((trial.best_epoch or 0) + 1, trial.score or 0.0)],
        }
        for trial in state.trials.values()
    }


def shown(runs: list[ShownRun], study: str) -> dict[str, dict[str, list[tuple[int, float]]]]:
    return {run.name: run.points for run in runs if run.name != study}


def test_killed_chiefs_leave_one_run_a_trial_and_one_point_an_epoch(
    place: Place, two_colours: str, server: str
) -> None:
    place.study = "killed"
    holds = [place.gate / f"hold-{epoch}" for epoch in (2, 3)]
    for hold in holds:
        hold.touch()
    command = place.start(*run(two_colours, place.study, server))

    def shown_epochs() -> int:
        return max((len(run.points.get("loss", ())) for run in shown_runs(server, "killed")), default=0)

    def next_chief(term: int) -> None:
        place.kill(signal.SIGKILL, "chief")
        place.wait_for(lambda state: state.term == term, "the next chief", command)

    until("the epochs of a trial that still runs", lambda: shown_epochs() == 2, RUN_S)
    next_chief(2)
    next_chief(3)
    holds[0].unlink()
    until("the next epoch, from the third chief", lambda: shown_epochs() == 3, RUN_S)
    holds[1].unlink()
    done = command.wait()
    assert done.code == 0, done.err
    state, runs = place.state(), shown_runs(server, "killed")
    assert [run.name for run in runs] == ["00000", "00001", "00002", "killed"]
    assert shown(runs, "killed") == of_journal(state)
    parent = runs[-1]
    assert (parent.status, parent.tags["cifake_tune.best_trial"]) == ("FINISHED", state.best()[0].trial_id)
    assert parent.points["score"][-1][1] == state.best()[0].score
    for trial, its_run in zip(state.trials.values(), runs, strict=False):
        assert trial.state is TrialState.COMPLETED
        assert (its_run.status, its_run.tags["cifake_tune.state"]) == ("FINISHED", "COMPLETED")
        assert its_run.tags["mlflow.parentRunId"] == parent.run_id
        assert its_run.params == {key: str(value) for key, value in trial.chosen.items()}
    # the command finds nothing to add
    exported = run_in_process("export", "mlflow", server, "--bucket", place.bucket_folder)
    assert exported.code == 0, exported.err
    assert shown_runs(server, "killed") == runs


@contextmanager
def hung_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_hung_server_delays_no_trial_and_the_end_by_seconds_only(place: Place, two_colours: str, server: str) -> None:
    place.study = "hung"
    with hung_server() as url:
        done = place.do(*run(two_colours, place.study, url), MLFLOW_HTTP_REQUEST_TIMEOUT=str(HUNG_S))
    assert done.code == 0, done.err
    log = "".join(path.read_text() for path in Path(place.cache).glob("logs/**/*.log"))
    assert "has not taken the whole study within 10 s. cifake-tune export mlflow writes what is missing." in log
    exported = run_in_process("export", "mlflow", server, "--bucket", place.bucket_folder)
    assert exported.code == 0, exported.err
    assert shown(shown_runs(server, "hung"), "hung") == of_journal(place.state())
