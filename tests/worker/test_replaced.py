"""Two processes with one worker's name: the newer one works, the older one ends, and no trial loses a retry."""

import threading
from collections.abc import Callable

import pytest

from tests.support.chief import RunningChief
from tests.worker.conftest import nothing
from tuner.errors import ExitCode, FencedError
from tuner.rpc.lease_service import Heartbeat
from tuner.worker.chief_client import ChiefClient


def beat(client: ChiefClient, trial: str | None = None, attempt: int = 0) -> bool:
    request = Heartbeat(worker=client.worker, incarnation=client.incarnation, trial=trial, attempt=attempt)
    answer = client.heartbeat(request)
    assert answer is not None
    return answer.held


def test_a_zombie_that_wakes_up_does_not_end_the_attempt_of_the_process_that_replaced_it(
    chief: RunningChief, new_client: Callable[[str], ChiefClient]
) -> None:
    zombie = new_client("w0")
    old = zombie.next_trial(nothing)
    newer = new_client("w0")
    grant = newer.next_trial(nothing)
    assert old is not None
    assert grant is not None
    assert (grant.trial_id, grant.attempt) == (old.trial_id, 2)
    assert not beat(zombie, old.trial_id, old.attempt)
    assert not beat(zombie)
    with pytest.raises(FencedError, match=r"another process has joined as worker w0.*KERASTUNER_TUNER_ID") as ended:
        zombie.next_trial(nothing)
    assert ended.value.exit_code is ExitCode.FENCED
    assert beat(newer, grant.trial_id, grant.attempt)
    newer.report(grant, 0, {"val_accuracy": 0.5}, None, None, threading.Event())
    newer.complete(grant)
    [trial] = chief.ask(lambda state: [state.trials[ended] for ended in state.ended])
    assert trial.attempts == 2


def test_a_process_that_waits_for_a_trial_as_another_takes_its_place_leaves_the_next_one_to_others(
    chief: RunningChief, new_client: Callable[[str], ChiefClient]
) -> None:
    busy = [new_client(f"busy{number}") for number in range(3)]
    grants = [client.next_trial(nothing) for client in busy]
    zombie, other = new_client("w0"), new_client("other")
    ended: list[BaseException] = []
    got: list[str] = []

    def wait() -> None:
        try:
            zombie.next_trial(nothing)
        except FencedError as error:
            ended.append(error)

    def wait_too() -> None:
        grant = other.next_trial(nothing)
        got.append(grant.trial_id if grant else "none")

    threads = [threading.Thread(target=work) for work in (wait, wait_too)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        while chief.waiting() < number:
            pass
    new_client("w0")
    new_client("busy1")  # whose older process held a trial
    for thread in threads:
        thread.join(10)  # an idle answer comes after 20 s
    assert len(ended) == 1
    assert grants[1] is not None
    assert got == [grants[1].trial_id]
