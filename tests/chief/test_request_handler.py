"""Requests in the bucket: a chief handles each of them once, whenever it or its predecessor is killed."""

import asyncio
import logging
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path

import keras_tuner
import pytest

from tests.support.chief import RunningChief, running_chief
from tests.support.crew import Crew
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.request_handler import RequestHandler
from tuner.config.loading import load
from tuner.config.settings import Algorithm
from tuner.control.request import Request, pending, submit
from tuner.errors import BucketError
from tuner.names import TrialId
from tuner.search.claims import Instant
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion
from tuner.study.journal import read_records
from tuner.study.records import Action, Controlled, Record, TrialState
from tuner.worker.chief_client import Verdict

T0 = TrialId("00000")


class FailingBucket(LocalBucket):
    """A bucket whose deletions of requests, or lists of them, can fail."""

    fails_delete = fails_list = False

    def delete(self, name: str) -> None:
        if self.fails_delete and names.parse_control_request(name):
            raise BucketError("the bucket is gone")
        super().delete(name)

    def list(self, prefix: str = "") -> Iterator[str]:
        if self.fails_list and prefix.endswith("/control/"):
            raise BucketError("the bucket is gone")
        yield from super().list(prefix)


def space() -> keras_tuner.HyperParameters:
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Int("units", 1, 100)
    hyperparameters.Choice("activation", ["relu", "tanh"])
    return hyperparameters


@pytest.fixture
def crew(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Crew]:
    """A chief with workers; the parameter is the algorithm."""
    algorithm = getattr(request, "param", Algorithm.RANDOM)
    study = load(settings=["search.max_trials=5", "training.epochs=4", f"search.algorithm={algorithm}"])
    with running_chief(FailingBucket(tmp_path / "bucket"), study, space()) as chief:
        new_crew = Crew(chief)
        yield new_crew
        new_crew.close()


def handle(chief: RunningChief) -> None:
    """Let the chief look for requests once."""
    chief.do(RequestHandler(chief.service, chief.bucket).handle_pending())


def requested(chief: RunningChief, action: Action, *trials: str, **values: int | str) -> Request:
    request = Request(action=action, trials=tuple(TrialId(t) for t in trials), hyperparameters=values)
    submit(chief.bucket, chief.study.name, request)
    return request


def controlled(chief: RunningChief) -> list[Controlled]:
    return [r for r in read_records(chief.bucket, chief.study.name) if isinstance(r, Controlled)]


def test_a_pause_reaches_a_training_worker_and_the_waiting_ones_get_trials_when_it_ends(crew: Crew) -> None:
    crew.ask("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])
    requested(crew.chief, Action.PAUSE)
    handle(crew.chief)
    assert crew.epoch("worker-0", 0) is Verdict.PAUSED
    crew.ask_again("worker-0")
    crew.ask("worker-1")
    crew.wait_for(lambda crew: crew.chief.waiting() == 2)
    requested(crew.chief, Action.RESUME)
    handle(crew.chief)
    crew.wait_for(lambda crew: len(crew.working) == 2)
    grants = [grant for grant in crew.answers.values() if grant]
    assert sorted((grant.trial_id, grant.attempt, grant.first_epoch) for grant in grants) == [
        (T0, 2, 1),
        ("00001", 1, 0),
    ]


def test_a_request_is_recorded_before_its_object_is_deleted_and_then_only_deleted(crew: Crew) -> None:
    chief, bucket = crew.chief, crew.chief.bucket
    assert isinstance(bucket, FailingBucket)
    request = requested(chief, Action.PAUSE)
    bucket.fails_delete = True
    handle(chief)  # as if the chief was killed before it could delete the object
    chief.stop()
    bucket.fails_delete = False
    chief.start()
    requested(chief, Action.RESUME)
    handle(chief)
    assert [record.request for record in controlled(chief)].count(request.id) == 1
    assert not chief.ask(lambda state: state.control.is_paused), "the pause was not repeated after the resume"
    assert not pending(bucket, chief.study.name)


def test_a_request_that_no_chief_has_read_is_handled_by_the_next_one(crew: Crew) -> None:
    crew.chief.stop()
    requested(crew.chief, Action.PAUSE)
    crew.chief.start()
    handle(crew.chief)
    assert crew.chief.ask(lambda state: state.control.is_paused)


def test_requests_are_handled_in_the_order_in_which_they_were_made(crew: Crew) -> None:
    actions = [Action.PAUSE, Action.RESUME, Action.PAUSE]
    for action in actions:
        requested(crew.chief, action)
    handle(crew.chief)
    assert [record.action for record in controlled(crew.chief)] == actions


def test_objects_that_are_no_requests_are_left_alone_and_the_others_are_handled(
    crew: Crew, caplog: pytest.LogCaptureFixture
) -> None:
    chief, prefix = crew.chief, names.control_prefix(crew.chief.study.name)
    newer = f"{prefix}{names.request_id(2, 'aa')}.json"
    objects = {f"{prefix}a.json": b"{", newer: b'{"format": "99.0", "action": "pause"}', f"{prefix}b": b"\xff"}
    for name, data in objects.items():
        chief.bucket.write(name, data)
    chief.bucket.write(
        f"{prefix}{names.request_id(3, 'bb')}.json", Request(action=Action.STOP).model_dump_json().encode()
    )
    requested(chief, Action.PAUSE)
    with caplog.at_level(logging.WARNING):
        handle(chief)
    assert chief.ask(lambda state: (state.control.is_paused, state.ending)) == (True, None)
    assert set(objects) < set(pending(chief.bucket, chief.study.name))
    assert len([line for line in caplog.messages if prefix in line]) == 4


@pytest.mark.parametrize(
    "request_of_nonsense",
    [
        Request(action=Action.ENQUEUE, trials=(TrialId("x"),), hyperparameters={"units": 3}),
        Request(action=Action.PAUSE, trials=(T0,)),
        Request(action=Action.STOP, hyperparameters={"units": 3}),
        *(
            Request(action=Action.ENQUEUE, hyperparameters={"units": value})
            for value in (nan, inf, True, "", "\x1b[31m")
        ),
        Request(action=Action.ENQUEUE, hyperparameters={"": 1, "tuner/epochs": 1}),
    ],
)
def test_no_request_ends_the_chief(crew: Crew, request_of_nonsense: Request) -> None:
    submit(crew.chief.bucket, crew.chief.study.name, request_of_nonsense)
    handle(crew.chief)
    assert not pending(crew.chief.bucket, crew.chief.study.name)
    assert [record.request for record in controlled(crew.chief)] == [request_of_nonsense.id]


def test_a_bucket_that_fails_is_asked_again_and_logged_once(crew: Crew, caplog: pytest.LogCaptureFixture) -> None:
    bucket = crew.chief.bucket
    assert isinstance(bucket, FailingBucket)
    requested(crew.chief, Action.PAUSE)
    handler, bucket.fails_list = RequestHandler(crew.chief.service, bucket), True
    with caplog.at_level(logging.WARNING):
        crew.chief.do(handler.handle_pending())
        crew.chief.do(handler.handle_pending())
    assert [line for line in caplog.messages if "requests" in line] == ["requests cannot be read: the bucket is gone"]
    bucket.fails_list = False
    crew.chief.do(handler.handle_pending())
    assert crew.chief.ask(lambda state: state.control.is_paused)


def test_a_request_that_the_study_does_not_allow_is_recorded_with_the_reason(crew: Crew) -> None:
    requested(crew.chief, Action.STOP, "00007")
    handle(crew.chief)
    (record,) = controlled(crew.chief)
    assert record.refusal == "there is no trial '00007'. List the trials with cifake-tune trials."


def test_a_stopped_search_finishes_once_its_last_trial_has_reported(crew: Crew) -> None:
    crew.ask("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])
    requested(crew.chief, Action.STOP)
    handle(crew.chief)
    assert crew.epoch("worker-0", 0, 0.7) is Verdict.STOPPED
    crew.ask_again("worker-0")
    crew.wait_for(lambda crew: crew.answers.get("worker-0", crew) is None)
    trial = crew.chief.ask(lambda state: state.trials[T0])
    assert (trial.state, trial.score) == (TrialState.STOPPED, 0.7)
    assert crew.chief.ask(lambda state: state.finished is not None and not state.finished.failed)


@pytest.mark.parametrize("crew", list(Algorithm), indirect=True)
def test_an_enqueued_configuration_is_the_next_trial_with_defaults_also_after_a_restart(crew: Crew) -> None:
    chief = crew.chief
    for units in (71, 72):
        requested(chief, Action.ENQUEUE, units=units)
    handle(chief)
    crew.ask("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])
    chief.stop()
    chief.start()
    crew.ask("worker-1")
    crew.wait_for(lambda crew: crew.working == ["worker-0", "worker-1"])
    chosen = chief.ask(lambda state: [trial.chosen for trial in state.trials.values()])
    assert chosen[:2] == [{"units": 71, "activation": "relu"}, {"units": 72, "activation": "relu"}]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"unit": 3}, "enqueue: the space has no hyperparameter 'unit'. Did you mean 'units'?"),
        ({"units": 101}, "enqueue.units: must be a whole number from 1 to 100, got 101."),
        ({"activation": "gelu"}, 'enqueue.activation: must be one of ["relu", "tanh"], got "gelu".'),
        ({"units": 71}, "these hyperparameters are enqueued already."),
    ],
)
def test_an_enqueued_configuration_is_checked_against_the_space(
    crew: Crew, values: dict[str, int | str], reason: str
) -> None:
    requested(crew.chief, Action.ENQUEUE, units=71)
    requested(crew.chief, Action.ENQUEUE, **values)
    handle(crew.chief)
    assert controlled(crew.chief)[1].refusal == reason


def test_a_configuration_that_a_trial_has_is_refused(crew: Crew) -> None:
    requested(crew.chief, Action.ENQUEUE, units=71)
    handle(crew.chief)
    crew.ask("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])
    requested(crew.chief, Action.ENQUEUE, units=71)
    handle(crew.chief)
    assert controlled(crew.chief)[1].refusal.startswith("a trial has these hyperparameters already")


def test_enqueued_configurations_count_towards_max_trials(crew: Crew) -> None:
    for units in range(1, 7):
        requested(crew.chief, Action.ENQUEUE, units=units)
    handle(crew.chief)
    *first, last = controlled(crew.chief)
    assert not any(record.refusal for record in first)
    assert last.refusal.startswith("search.max_trials is 5, and there are 0 trials and 5 enqueued ones.")


def test_no_suggestion_takes_the_place_of_an_enqueued_configuration_while_it_is_recorded(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, suggestions = crew.chief.service, []
    control = service.oracle.control

    def suggest_and_control(request: Controlled, now: Instant) -> list[Record]:
        suggestions.append(service.dispatcher._suggester.suggest())
        return control(request, now)

    monkeypatch.setattr(service.oracle, "control", suggest_and_control)
    requested(crew.chief, Action.ENQUEUE, units=71)
    handle(crew.chief)
    assert [s.values["units"] for s in suggestions if isinstance(s, Suggestion)] == [71]


def test_nothing_is_enqueued_while_the_search_only_completes_its_best_trials(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Oracle, "is_closing", True)
    requested(crew.chief, Action.ENQUEUE, units=71)
    requested(crew.chief, Action.PAUSE)
    handle(crew.chief)
    assert [record.refusal for record in controlled(crew.chief)] == [
        "the search only completes its best trials now, because a budget of hours is about to end.",
        "",
    ]


def test_a_running_chief_looks_for_requests_by_itself(tmp_path: Path) -> None:
    bucket, study = LocalBucket(tmp_path / "bucket"), load()
    with running_chief(bucket, study, space(), handles_requests=True) as chief:
        requested(chief, Action.PAUSE)

        async def paused() -> None:
            while not chief.state.control.is_paused:
                await asyncio.sleep(0.02)

        chief.do(asyncio.wait_for(paused(), 20))
