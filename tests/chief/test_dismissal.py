"""Workers that wait in vain at the end of a search are dismissed, except spare ones, which take over lost trials."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import keras_tuner
import pytest

from tests.support.chief import running_chief
from tests.support.crew import WITHIN_S, Crew
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.rpc import lease_service
from tuner.search.suggester import NoSuggestion, Suggestion
from tuner.study.records import Outcome


def study(trials: int, *settings: str) -> Study:
    return load(settings=[f"search.max_trials={trials}", "training.epochs=1", *settings])


def space() -> keras_tuner.HyperParameters:
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.Int("units", 1, 100)
    return hyperparameters


@pytest.fixture
def crew(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Crew]:
    """A crew of a chief that keeps one spare worker; the parameter is the number of trials."""
    with running_chief(LocalBucket(tmp_path / "bucket"), study(getattr(request, "param", 1)), space()) as chief:
        chief.stop()
        chief.spare = 1
        chief.start()
        new_crew = Crew(chief)
        try:
            yield new_crew
        finally:
            new_crew.close()


EIGHT = [f"worker-{number}" for number in range(8)]


def test_eight_workers_and_one_last_trial_leave_the_worker_that_trains_it_and_a_spare_one(crew: Crew) -> None:
    crew.ask(*EIGHT)
    crew.wait_for(lambda crew: len(crew.dismissed) == 6)
    assert len(crew.working) == 1
    assert crew.chief.waiting() == 1
    assert len(crew.chief.workers()) == 2  # nor are the others counted as idle any more


def test_the_spare_worker_takes_over_the_trial_of_a_lost_one_and_the_replacement_becomes_the_spare(crew: Crew) -> None:
    crew.ask(*EIGHT)
    crew.wait_for(lambda crew: len(crew.dismissed) == 6)
    [lost] = crew.working
    [spare] = set(EIGHT) - set(crew.answers)
    crew.ask(lost)  # its pod is replaced, and joins before the lease expires
    crew.wait_for(lambda crew: spare in crew.working)
    grant = crew.answers[spare]
    assert grant is not None
    assert grant.attempt == 2
    crew.wait_for(lambda crew: crew.chief.waiting() == 1)
    assert lost not in crew.dismissed
    crew.complete(spare)
    crew.wait_for(lambda crew: crew.answers.get(lost, grant) is None)
    assert not crew.clients[lost].was_dismissed  # the search has finished
    assert crew.chief.ask(lambda state: state.finished is not None)


def test_a_trial_that_is_returned_while_workers_leave_is_trained(crew: Crew) -> None:
    crew.ask(*EIGHT)
    crew.wait_for(lambda crew: len(crew.dismissed) == 6)
    [first] = crew.working
    grant = crew.answers.pop(first)
    assert grant is not None
    crew.clients[first].give_back(grant, Outcome.PREEMPTED, "the node was reclaimed")
    crew.wait_for(lambda crew: len(crew.working) == 1)
    [second] = crew.working
    crew.complete(second)
    assert crew.chief.ask(lambda state: state.finished is not None)


@pytest.mark.parametrize("crew", [2], indirect=True)
def test_no_worker_leaves_that_a_queued_trial_needs(crew: Crew) -> None:
    crew.ask("worker-0", "worker-1", "worker-2", "worker-3")
    crew.wait_for(lambda crew: len(crew.working) == 2 and len(crew.dismissed) == 1)
    assert crew.chief.waiting() == 1


@pytest.mark.parametrize("crew", [100], indirect=True)
def test_no_worker_leaves_while_trials_may_be_suggested(crew: Crew) -> None:
    chief, gate = crew.chief, threading.Event()
    suggest = chief.service.suggester.suggest

    def late() -> Suggestion | NoSuggestion:
        gate.wait(WITHIN_S)
        return suggest()

    chief.service.suggester.suggest = late  # type: ignore[method-assign]
    crew.ask(*EIGHT)
    crew.wait_for(lambda crew: crew.chief.waiting() == 8)
    assert chief.service.dispatcher.wanted_workers is None
    gate.set()
    crew.wait_for(lambda crew: len(crew.working) == 8)


def test_a_worker_that_did_not_receive_its_dismissal_is_served_if_it_asks_again(crew: Crew) -> None:
    crew.ask("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])
    crew.ask("worker-1", "worker-2")
    crew.wait_for(lambda crew: len(crew.dismissed) == 1)
    [dismissed] = crew.dismissed
    [spare] = {"worker-1", "worker-2"} - {dismissed}
    grant = crew.answers.pop("worker-0")
    assert grant is not None
    crew.clients["worker-0"].give_back(grant, Outcome.PREEMPTED, "the node was reclaimed")
    crew.wait_for(lambda crew: crew.working == [spare])
    crew.ask_again(dismissed)
    crew.wait_for(lambda crew: crew.chief.waiting() == 1)
    assert {worker.worker for worker in crew.chief.workers()} == {dismissed, spare}


def test_a_restarted_chief_dismisses_no_more_workers_than_the_one_before(crew: Crew) -> None:
    crew.ask(*EIGHT)
    crew.wait_for(lambda crew: len(crew.dismissed) == 6)
    crew.chief.stop()
    crew.chief.start()
    crew.wait_for(lambda crew: crew.chief.waiting() == 1)
    assert len(crew.working) == 1
    assert len(crew.dismissed) == 6


def test_a_keras_tuner_worker_leaves_before_one_that_can_resume_a_trial(crew: Crew) -> None:
    crew.ask("worker-0")
    crew.wait_for(lambda crew: crew.working == ["worker-0"])
    from keras_tuner.src import protos

    with grpc.insecure_channel(crew.chief.address) as channel:
        stub = protos.get_service_grpc().OracleStub(channel)
        answer = stub.CreateTrial.future(protos.get_service().CreateTrialRequest(tuner_id="stock"), timeout=WITHIN_S)
        crew.wait_for(lambda crew: crew.chief.waiting() == 1)
        crew.ask("worker-1")
        assert answer.result().trial.status == protos.get_proto().TrialStatus.STOPPED
        crew.wait_for(lambda crew: crew.chief.waiting() == 1)
    assert crew.dismissed == []


def test_the_status_says_how_many_workers_the_search_can_use(crew: Crew) -> None:
    with grpc.insecure_channel(crew.chief.address) as channel:
        lease = lease_service.LeaseStub(channel)
        assert lease.status(WITHIN_S).wanted is None
        crew.ask("worker-0")
        crew.wait_for(lambda crew: crew.working == ["worker-0"])
        assert lease.status(WITHIN_S).wanted == 2
        crew.complete("worker-0")
        crew.wait_for(lambda crew: crew.chief.service.state.finished is not None)
        assert lease.status(WITHIN_S).wanted is None, "no worker is started after the end of the search"
