"""The commands pause, resume, stop and enqueue against a serving chief, and without one."""

from collections.abc import Iterator
from pathlib import Path

import keras_tuner
import pytest

from tests.support.chief import running_chief
from tests.support.command_line import Finished, run_in_process
from tests.support.crew import Crew
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.control import confirmation
from tuner.names import TrialId
from tuner.study.records import TrialState
from tuner.worker.chief_client import Verdict


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    """A chief that handles requests, and a worker that has a trial."""
    space = keras_tuner.HyperParameters()
    space.Int("units", 1, 100)
    study = load(settings=["name=night", "search.max_trials=5", "training.epochs=4", "search.algorithm=random"])
    with running_chief(LocalBucket(tmp_path / "bucket"), study, space, handles_requests=True) as chief:
        new_crew = Crew(chief)
        new_crew.ask("worker-0")
        new_crew.wait_for(lambda crew: crew.working == ["worker-0"])
        yield new_crew
        new_crew.close()


def command(crew: Crew, *arguments: str) -> Finished:
    return run_in_process(*arguments, "--bucket", crew.chief.bucket.url)


def test_pause_says_what_happens_and_how_to_continue_and_resume_continues(crew: Crew) -> None:
    paused = command(crew, "pause")
    assert paused.code == 0, paused.err
    assert paused.out.splitlines() == [
        "Asking the chief of study night to pause the search.",
        "The search is paused. 1 running trial is handed back or completed after the current epoch. Continue it with "
        f"cifake-tune resume --bucket {crew.chief.bucket.url} --study night.",
    ]
    assert crew.epoch("worker-0", 0) is Verdict.PAUSED
    resumed = command(crew, "resume")
    assert (resumed.code, resumed.out.splitlines()[-1]) == (0, "The search continues.")
    crew.ask_again("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])


def test_a_request_may_be_repeated(crew: Crew) -> None:
    assert [command(crew, "pause").code for _ in range(2)] == [0, 0]
    assert [command(crew, "resume").code for _ in range(2)] == [0, 0]


def test_status_says_that_the_search_is_paused_and_how_to_continue(crew: Crew) -> None:
    command(crew, "pause")
    crew.epoch("worker-0", 0)
    status = command(crew, "status").out
    assert "paused since " in status
    assert "cifake-tune resume" in status


def test_stop_ends_a_trial_whose_id_may_lack_its_zeros(crew: Crew) -> None:
    stopped = command(crew, "stop", "0")
    assert (stopped.code, stopped.out.splitlines()[-1]) == (0, "Trial 00000 stops after its epoch.")
    assert crew.epoch("worker-0", 0, 0.75) is Verdict.STOPPED
    trial = crew.chief.ask(lambda state: state.trials[TrialId("00000")])
    assert (trial.state, trial.score) == (TrialState.STOPPED, 0.75)


def test_a_trial_that_has_ended_cannot_be_stopped_and_the_refusal_says_how_it_ended(crew: Crew) -> None:
    crew.complete("worker-0")
    again = command(crew, "stop", "0")
    assert (again.code, again.err) == (2, "error: trial 00000 has ended already: it is COMPLETED.\n")


def test_an_unknown_trial_is_refused_with_the_nearest(crew: Crew) -> None:
    unknown = command(crew, "stop", "00010")
    assert (unknown.code, unknown.err) == (2, "error: there is no trial '00010'. Did you mean 00000?\n")


def test_stop_without_trials_ends_the_search(crew: Crew) -> None:
    stopped = command(crew, "stop")
    assert stopped.code == 0, stopped.err
    assert "the best trial is evaluated" in stopped.out
    assert "ending" in command(crew, "status").out
    crew.epoch("worker-0", 0)
    assert "the search of study 'night' has finished" in command(crew, "pause").err


def test_enqueue_names_the_complete_configuration_and_the_next_trial_has_it(crew: Crew) -> None:
    enqueued = command(crew, "enqueue", "--set", "units=42")
    assert (enqueued.code, enqueued.out.splitlines()[-1]) == (0, "Enqueued, and tried next: units=42")
    crew.ask("worker-1")
    crew.wait_for(lambda crew: "worker-1" in crew.working)
    assert crew.chief.ask(lambda state: state.trials[TrialId("00001")].hyperparameters) == {"units": 42}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("unitz=3", "enqueue: the space has no hyperparameter 'unitz'. Did you mean 'units'?"),
        ("units=many", "enqueue.units: must be a whole number from 1 to 100"),
        ("units", "--set must be NAME=VALUE, such as learning_rate=0.001, got 'units'."),
        ("units=[1]", "--set units=[1]: must be a number, a text, true or false."),
    ],
)
def test_values_that_the_space_does_not_have_are_refused_with_exit_code_2(
    crew: Crew, setting: str, problem: str
) -> None:
    refused = command(crew, "enqueue", "--set", setting)
    assert refused.code == 2
    assert f"error: {problem}" in refused.err


def test_without_a_chief_the_request_waits_for_the_next_one_and_the_command_says_so(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew.chief.stop()
    monkeypatch.setattr(confirmation, "WAIT_S", 0.2)
    monkeypatch.setattr(confirmation, "SHORT_WAIT_S", 0.2)
    paused = command(crew, "pause")
    assert paused.code == 0
    assert "No chief has confirmed the request. Probably none is serving study night" in paused.out
    assert "the next chief of the study handles it" in paused.out
    crew.chief.start()
    crew.wait_for(lambda crew: crew.chief.ask(lambda state: state.control.is_paused))


def test_scale_down_needs_a_release(crew: Crew) -> None:
    refused = command(crew, "pause", "--scale-down")
    assert (refused.code, refused.err) == (
        2,
        "error: --scale-down has no effect without --release. Add --release NAME.\n",
    )


def test_a_study_that_does_not_exist_is_refused(crew: Crew) -> None:
    refused = command(crew, "pause", "--study", "day")
    assert refused.code == 2
    assert "has no study 'day'" in refused.err
