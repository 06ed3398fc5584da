"""Workers that are killed, renamed, come late: bare Keras Tuner's processes and ours, through the same evening."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from keras_tuner.src import protos

from tests.comparison.bare import SOON_S, Bare, bare, create, get, observations, service, wait_for
from tests.integration.support import Command, Place, place, settings
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack
from tuner.names import TrialId
from tuner.study.records import TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

SPACES = Path(__file__).parent / "spaces"
EPOCHS = 4
HELD = 2
"""The epoch in which a worker is killed."""


# ---- bare Keras Tuner ------------------------------------------------------------------------------
@dataclass(frozen=True)
class BareEvening:
    """One worker was killed in its first trial, came back, and was killed for good in its second; another came late."""

    retrained: list[int]
    """The epochs of the first trial, after the worker had come back."""
    objectives: list[float]
    """The objectives of the finished first trial that the chief knows."""
    late_worker: int
    """Exit code of a worker that came when the second trial was all that was left, without a worker."""
    left_running: str
    """State of that trial in the chief's eyes afterwards."""
    chief_waits: bool
    project_before: set[str]
    """Files of the project before the late worker came, which had overwrite=True, as all of them may have."""
    project_after: set[str]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareEvening]:
    with bare(tmp_path_factory.mktemp("bare")) as bare_study:
        hold = bare_study.folder / f"hold-{HELD}"
        hold.touch()
        chief = bare_study.start("bare_tuner.py", tuner_id="chief")
        client = bare_study.client()
        worker = bare_study.start("bare_tuner.py", tuner_id="tuner0")
        wait_for(lambda: ("tuner0", HELD) in bare_study.epochs(), "the first trial's epoch")
        kill(worker)
        done_epochs = len(bare_study.epochs())
        worker = bare_study.start("bare_tuner.py", tuner_id="tuner0")
        wait_for(lambda: ("tuner0", HELD) in bare_study.epochs()[done_epochs:], "the same epoch again")
        retrained = [epoch for _, epoch in bare_study.epochs()[done_epochs:]]
        (bare_study.folder / "hold-1").touch()
        done_epochs = len(bare_study.epochs())
        hold.unlink()
        wait_for(lambda: ("tuner0", 1) in bare_study.epochs()[done_epochs:], "the second trial")
        kill(worker)
        objectives = observations(get(client, "0"))
        files = project(bare_study)
        late = bare_study.start("bare_tuner.py", "--overwrite", tuner_id="tuner1")
        late_worker = late.wait(timeout=120)
        with contextlib.suppress(Exception):
            chief.wait(timeout=SOON_S)
        status = protos.get_proto().TrialStatus.Name(get(client, "1").status) if chief.poll() is None else "none"
        yield BareEvening(retrained, objectives, late_worker, status, chief.poll() is None, files, project(bare_study))


def kill(process: object) -> None:
    process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
    process.wait()  # type: ignore[attr-defined]


def project(bare_study: Bare) -> set[str]:
    folder = bare_study.folder / "project"
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# ---- ours ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OurEvening:
    """The same: a worker was killed in its first trial, came back, was killed for good; another came late."""

    resumed_at: int
    """The epoch that the first trial went on with."""
    journal_before: dict[str, bytes]
    """What was in the bucket before the late worker came."""
    journal_after: dict[str, bytes]
    names: set[str]
    """Of the workers that trained."""
    unknown_trial: grpc.StatusCode
    """The answer to a report of a trial that there is not."""
    chief: int
    late_worker: int
    state: StudyState


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[OurEvening]:
    port = str(free_port())
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: port}
    folder = tmp_path_factory.mktemp("ours")
    with place(folder, COMPARED=str(folder), **address) as new_place:
        hold = folder / f"hold-{HELD}"
        hold.touch()
        pack(two_colours, new_place.bucket)
        chief = new_place.start(
            "chief",
            *settings(space__import_="compared_space:Compared", space__code=SPACES, search__algorithm="grid"),
            *settings(training__epochs=EPOCHS, leases__duration_s=3.0, data__batch_size=16),
        )
        worker = new_place.start("worker", **{names.ENV_TUNER_ID: "mischief-1"})

        def first(state: StudyState) -> Trial | None:
            return state.trials.get(names.TrialId("00000"))

        new_place.wait_for(lambda state: (t := first(state)) and HELD - 1 in t.epochs, "two epochs", chief)
        wait_for(lambda: ("mischief-1", HELD) in epochs(folder), "the first trial's epoch")
        stop(worker)
        done_epochs = len(epochs(folder))
        worker = new_place.start("worker", **{names.ENV_TUNER_ID: "mischief-1"})
        wait_for(lambda: len(epochs(folder)) > done_epochs, "the first trial's next epoch")
        resumed_at = epochs(folder)[done_epochs][1]
        (folder / "hold-1").touch()
        hold.unlink()
        new_place.wait_for(
            lambda state: (t := first(state)) and t.state is TrialState.COMPLETED, "the first trial", chief
        )
        new_place.wait_for(
            lambda state: len(state.trials) == 2 and state.trials[TrialId("00001")].attempts == 1, "the second", chief
        )
        stop(worker)
        journal = objects(new_place)
        unknown = code_of_a_report_of_an_unknown_trial(port)
        (folder / "hold-1").unlink()
        late = new_place.start("worker", **{names.ENV_TUNER_ID: "worker-1"})
        codes = chief.wait().code, late.wait().code
        workers = {worker for worker, _ in epochs(folder)}
        yield OurEvening(resumed_at, journal, objects(new_place), workers, unknown, *codes, new_place.state())


def stop(command: Command) -> None:
    os.kill(command.process.pid, signal.SIGKILL)
    command.process.wait()


def epochs(folder: Path) -> list[tuple[str, int]]:
    file = folder / "epochs"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def objects(place: Place) -> dict[str, bytes]:
    return {name: place.bucket.read(name) for name in place.bucket.list(names.journal_prefix(place.study))}


def code_of_a_report_of_an_unknown_trial(port: str, *, wait: bool = True) -> grpc.StatusCode:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = service.UpdateTrialRequest(trial_id="no such trial", metrics={"val_accuracy": 0.5}, step=0)
        with pytest.raises(grpc.RpcError) as caught:
            protos.get_service_grpc().OracleStub(channel).UpdateTrial(request, timeout=30, wait_for_ready=wait)
        return caught.value.code()


# ---- the claims ------------------------------------------------------------------------------------
def test_a_dead_worker_keeps_the_bare_chief_waiting_and_ours_gives_its_trial_to_another(
    theirs: BareEvening, ours: OurEvening
) -> None:
    assert theirs.late_worker == 0  # it was told that all was done
    assert theirs.left_running == "RUNNING"
    assert theirs.chief_waits
    assert ours.state.trials[names.TrialId("00001")].worker == "worker-1"
    assert ours.state.trials[names.TrialId("00001")].attempts == 2
    assert (ours.chief, ours.late_worker) == (0, 0)
    assert ours.unknown_trial is grpc.StatusCode.NOT_FOUND  # which kept nobody from ending


def test_an_interrupted_trial_starts_again_from_epoch_0_there_and_goes_on_here(
    theirs: BareEvening, ours: OurEvening
) -> None:
    assert theirs.retrained == [0, 1, 2]
    assert ours.resumed_at == HELD


def test_per_epoch_results_never_reach_the_bare_oracle_and_stop_trials_early_here(
    theirs: BareEvening, ours: OurEvening
) -> None:
    assert len(theirs.objectives) == 1  # of three epochs
    assert len(ours.state.trials[names.TrialId("00000")].epochs) == EPOCHS
    stopped = [trial for trial in ours.state.trials.values() if trial.state is TrialState.STOPPED]
    assert stopped
    assert all(len(trial.epochs) < EPOCHS for trial in stopped)


def test_overwrite_deletes_the_bare_project_in_every_process_and_nothing_deletes_our_journal(
    theirs: BareEvening, ours: OurEvening
) -> None:
    assert {"oracle.json", "trial_0/trial.json"} <= theirs.project_before
    assert not {"oracle.json", "trial_0/trial.json"} & theirs.project_after
    assert ours.journal_before
    assert ours.journal_before.items() <= ours.journal_after.items()


def test_a_worker_called_mischief_is_a_chief_there_and_a_worker_here(tmp_path: Path, ours: OurEvening) -> None:
    with bare(tmp_path) as bare_study:
        bare_study.start("bare_tuner.py", tuner_id="mischief-1")
        trial = create(bare_study.client(), "a worker")  # it serves trials, and trains none
        assert trial.trial_id == "0"
        assert bare_study.epochs() == []
    assert "mischief-1" in ours.names


def test_a_callback_with_a_lock_ends_the_bare_search_and_trains_here(tmp_path: Path, ours: OurEvening) -> None:
    with bare(tmp_path) as bare_study:
        process = bare_study.start("bare_tuner.py", "--lock")
        assert process.wait(timeout=120) != 0
        assert "should be deep-copyable" in bare_study.error(process)
        assert bare_study.epochs() == []
    assert ours.state.trials[names.TrialId("00000")].state is TrialState.COMPLETED  # its fit has such a callback
