"""Chiefs that are killed, asked in vain, asked for nonsense, listened to: bare Keras Tuner's and ours."""

import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.chaos.front import running_front
from tests.comparison.bare import SOON_S, WAIT_S, Bare, bare, create, end, get, observations, report, wait_for
from tests.comparison.test_workers import SPACES, code_of_a_report_of_an_unknown_trial, objects, stop
from tests.integration.support import Command, Place, place, settings
from tests.support.certificates import Authority, environment
from tests.support.gcs_emulator import free_port
from tuner import names
from tuner.data.pack import pack
from tuner.rpc import lease_service, tls
from tuner.study.records import TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial
from tuner.worker.chief_client import ChiefClient, Grant

TRIALS = 40
RESTARTS = 12
"""More often than a trial may be given to workers that die of it: retries.preemption is 10 here."""
NEVER = threading.Event()
POLLS_IN_2_S = 100
"""So often a worker that spins asks at least, also on a busy machine."""


# ---- bare Keras Tuner ------------------------------------------------------------------------------
@dataclass(frozen=True)
class BareNight:
    """A chief took trials, was killed, and went on; what it was asked then left its lock behind."""

    sizes: list[int]
    """Bytes that oracle.json had after each trial, each of which wrote it anew."""
    inodes: set[int]
    same_trial: set[str]
    """What a worker was given that was killed and restarted, again and again."""
    running_trial: str
    """The trial of a worker that was at work when the chief was killed."""
    next_trial: str
    """What another worker was given after the restart."""
    merged: list[float]
    """The objectives that both then reported, as the chief has them."""
    nonsense: grpc.StatusCode
    running: bool
    where: str
    """Where the chief's threads are, long after all trials have ended."""
    traffic: bytes


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareNight]:
    heard = bytearray()
    with bare(tmp_path_factory.mktemp("bare")) as bare_study, running_front(heard.extend) as front:
        front.add(bare_study.port)
        chief = bare_study.start("bare_chief.py", "random", tuner_id="chief")
        bare_study.client()
        client = bare_study.client(front.port)
        sizes, inodes = [], set()
        oracle = bare_study.folder / "project" / "oracle.json"
        for number in range(TRIALS):
            trial = create(client, "tuner0")
            report(client, trial, number / TRIALS)
            end(client, trial)
            sizes.append(oracle.stat().st_size)
            inodes.add(oracle.stat().st_ino)
        same = {create(client, "tuner0").trial_id for _ in range(RESTARTS)}
        running_trial = create(client, "tuner1")
        traffic = bytes(heard)
        chief.kill()
        chief.wait()
        chief = bare_study.start("bare_chief.py", "random", tuner_id="chief")
        client = bare_study.client()
        next_trial = create(client, "tuner2")
        report(client, running_trial, 0.25)
        report(client, next_trial, 0.75)
        merged = observations(get(client, next_trial.trial_id))
        code = code_of_a_report_of_an_unknown_trial(str(bare_study.port))
        end(client, next_trial)
        while (trial := create(client, "tuner2")).trial_id and trial.status != STOPPED:
            report(client, trial, 0.5)
            end(client, trial)
        running = is_running(chief)
        where = stacks(bare_study, chief)
        yield BareNight(
            sizes, inodes, same, running_trial.trial_id, next_trial.trial_id, merged, code, running, where, traffic
        )


STOPPED = 4
"""TrialStatus.STOPPED of Keras Tuner's protocol."""


def is_running(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(timeout=SOON_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def stacks(bare_study: Bare, process: subprocess.Popen[str]) -> str:
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        # The main thread's stack comes last, and its last line is the script's own.
        wait_for(lambda: "in <module>" in bare_study.error(process), "the stacks")
    return bare_study.error(process)


# ---- ours ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OurNight:
    """The same; after the restart the chief spoke TLS."""

    sizes: list[int]
    """Bytes that were written to the journal for each trial."""
    rewritten: set[str]
    """Objects of the journal that changed after they had been written."""
    deadly: Trial
    """The trial of a worker that was killed and restarted, again and again."""
    polls: int
    """How often a worker of Keras Tuner asked within 2 seconds, when there was nothing to do."""
    running_trial: str
    """The trial of a worker that was at work when the chief was killed."""
    next_trial: str
    """What another worker was given after the restart."""
    state: StudyState
    nonsense: grpc.StatusCode
    traffic: bytes
    plain: grpc.StatusCode
    """The answer to a caller without a certificate."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[OurNight]:
    folder = tmp_path_factory.mktemp("ours")
    files = Authority(folder / "certificates").issue("all", "127.0.0.1")
    port, heard = free_port(), bytearray()
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: str(port)}
    with place(folder / "place", **address) as new_place, running_front(heard.extend) as front:
        front.add(port)
        pack(two_colours, new_place.bucket)
        chief = start_chief(new_place, TRIALS + 3)
        sizes, rewritten, previous_objects = [], set(), objects(new_place)
        with caller(port, "worker") as worker:
            for number in range(TRIALS):
                grant = take(worker)
                worker.report(grant, 0, {"val_accuracy": number / TRIALS}, None, None, NEVER)
                worker.complete(grant)
                after = objects(new_place)
                rewritten |= {name for name in previous_objects if after[name] != previous_objects[name]}
                sizes.append(sum(len(after[name]) for name in after.keys() - previous_objects.keys()))
                previous_objects = after
        deadly = trial_id = take_and_die(port)
        while trial_id == deadly:
            trial_id = take_and_die(port)
        with caller(port, "holder") as holder:
            running_trial = take(holder)
            polls = ask_in_vain(port, new_place.folder)
        nonsense = code_of_a_report_of_an_unknown_trial(str(port))
        stop(chief)
        start_chief(new_place, TRIALS + 4, **environment(files))
        with caller(front.port, "other", files=files) as other:
            next_trial = take(other)
            other.report(next_trial, 0, {"val_accuracy": 0.75}, None, None, NEVER)
        with caller(front.port, "holder", holder.incarnation, files) as holder:
            holder.report(running_trial, 0, {"val_accuracy": 0.25}, None, None, NEVER)
        state = new_place.state()
        yield OurNight(
            sizes=sizes,
            rewritten=rewritten,
            deadly=state.trials[names.TrialId(deadly)],
            polls=polls,
            running_trial=running_trial.trial_id,
            next_trial=next_trial.trial_id,
            state=state,
            nonsense=nonsense,
            traffic=bytes(heard),
            plain=code_of_a_report_of_an_unknown_trial(str(front.port), wait=False),
        )


def start_chief(place: Place, trials: int, **more: str) -> Command:
    chief = place.start(
        "chief",
        *settings(space__import_="compared_space:Wide", space__code=SPACES, search__max_trials=trials),
        *settings(training__epochs=1, leases__duration_s=120.0, retries__preemption=10),
        *settings(search__early_stopping__policy="none"),
        **more,
    )
    term = place.commands
    place.wait_for(lambda state: state.term == term and "listens on port" in place.logs(), "a chief", chief)
    return chief


@contextmanager
def caller(
    port: int, worker: str, incarnation: str | None = None, files: tls.Files | None = None
) -> Iterator[ChiefClient]:
    """Yield the client that our worker processes use; with no incarnation given, of a new process."""
    address = f"127.0.0.1:{port}"
    with tls.open_channel(address, files, lease_service.OPTIONS) as channel:
        client = ChiefClient(channel, address, worker, incarnation or secrets.token_hex(8), lambda: None)
        client.join()
        yield client


def take(client: ChiefClient) -> Grant:
    grant = client.next_trial(lambda: None)
    assert grant is not None
    return grant


def take_and_die(port: int) -> str:
    with caller(port, "deadly") as worker:
        return take(worker).trial_id


def ask_in_vain(port: int, folder: Path) -> int:
    """Return how often Keras Tuner's own worker asks a chief that has nothing for it."""
    bare_study = Bare(folder, port)
    out, _ = bare_study.start("idle_worker.py", tuner_id="idle").communicate(timeout=WAIT_S)
    return int(out)


# ---- the claims ------------------------------------------------------------------------------------
def test_a_worker_that_is_restarted_gets_its_fatal_trial_for_ever_there_and_as_often_as_the_budget_says_here(
    theirs: BareNight, ours: OurNight
) -> None:
    assert len(theirs.same_trial) == 1
    assert (ours.deadly.state, ours.deadly.attempts) == (TrialState.FAILED, 11)
    assert "retries.preemption is 10" in ours.deadly.reason


def test_a_restarted_chief_hands_running_trials_out_again_there_and_waits_for_their_workers_here(
    theirs: BareNight, ours: OurNight
) -> None:
    assert theirs.next_trial == theirs.running_trial
    assert theirs.merged == [0.25, 0.75]
    assert ours.next_trial != ours.running_trial
    trial = ours.state.trials[names.TrialId(ours.running_trial)]
    assert (trial.attempts, trial.epochs) == (1, {0: {"val_accuracy": 0.25}})


def test_a_bad_request_leaves_the_bare_chiefs_lock_held_and_is_answered_here(theirs: BareNight, ours: OurNight) -> None:
    assert theirs.nonsense is grpc.StatusCode.UNKNOWN  # Python's KeyError
    assert theirs.running  # though all trials have ended
    main_thread = theirs.where.split("most recent call first")[-1]
    assert "in wrapped_func" in main_thread  # where it waits for the lock
    assert "in start_server" in main_thread
    assert ours.nonsense is grpc.StatusCode.NOT_FOUND  # and that chief ended by itself: test_workers.py


def test_all_state_is_rewritten_in_place_at_every_call_there_and_only_ever_added_to_here(
    theirs: BareNight, ours: OurNight
) -> None:
    assert len(theirs.inodes) == 1  # the same file, cut to nothing and written anew: no rename
    assert theirs.sizes == sorted(theirs.sizes)
    assert theirs.sizes[-1] > 3 * theirs.sizes[0]
    assert ours.rewritten == set()
    assert max(ours.sizes[-10:]) < 1.2 * max(ours.sizes[:10])


def test_what_is_said_can_be_read_on_the_way_there_and_not_with_tls_here(theirs: BareNight, ours: OurNight) -> None:
    assert b"val_accuracy" in theirs.traffic
    assert ours.traffic
    assert b"val_accuracy" not in ours.traffic
    assert ours.plain is grpc.StatusCode.UNAVAILABLE


def test_idle_workers_spin_there_and_wait_for_an_answer_here(tmp_path: Path, ours: OurNight) -> None:
    with bare(tmp_path) as bare_study:
        bare_study.start("bare_chief.py", "grid", tuner_id="chief")
        create(bare_study.client(), "busy")  # a grid can go on only when this one has ended
        assert ask_in_vain(bare_study.port, tmp_path) > POLLS_IN_2_S
    assert ours.polls == 1
