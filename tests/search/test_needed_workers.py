"""How many workers a search needs from now on, by which the chief dismisses the others."""

import pytest

from tests.search.played_search import Search, promoting
from tests.search.test_early_stopping import epochs
from tests.search.test_oracle import A, B, add, at, finish, oracle, take
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.claims import Instant
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.study.records import Opened, Outcome, TrialState
from tuner.study.state import StudyState


def test_any_number_is_needed_while_the_algorithm_may_suggest_trials() -> None:
    chief = oracle("search.max_trials=2")
    assert chief.needed_workers is None
    add(chief, 0)
    take(chief, A)
    assert chief.needed_workers is None
    add(chief, 1)
    assert chief.needed_workers == 2


def test_an_algorithm_without_a_limit_must_have_said_that_it_is_exhausted() -> None:
    chief = oracle("search.algorithm=hyperband", "search.max_trials=null")
    add(chief, 0)
    take(chief, A)
    assert chief.needed_workers is None
    chief.exhausted = True
    assert chief.needed_workers == 1


def test_running_and_interrupted_trials_need_a_worker_each_and_ended_ones_none() -> None:
    chief = oracle("search.max_trials=3")
    for number in range(3):
        add(chief, number)
    first, second = take(chief, A), take(chief, B)
    assert chief.needed_workers == 3
    chief.give_back(second, Outcome.PREEMPTED, "the node was reclaimed", at(1))
    assert chief.needed_workers == 3
    finish(chief, first)
    assert chief.needed_workers == 2


def test_a_finished_search_needs_none() -> None:
    chief = oracle("search.max_trials=1")
    add(chief)
    finish(chief, take(chief, A))
    chief.exhausted = True
    chief.finish(at(2))
    assert chief.state.finished
    assert chief.needed_workers == 0


def test_the_trainings_of_confirm_need_workers_before_they_are_created() -> None:
    chief = oracle("search.max_trials=1", "search.confirm.best=1", "search.confirm.seeds=3")
    add(chief)
    attempt = take(chief, A)
    assert chief.needed_workers == 1 + 3
    finish(chief, attempt)
    chief.exhausted = True
    chief.finish(at(2))
    assert len(chief.state.repetitions) == 3
    assert chief.needed_workers == 3
    repetition = take(chief, A)
    assert chief.needed_workers == 3
    finish(chief, repetition)
    assert chief.needed_workers == 2


def test_a_paused_trial_needs_a_worker_as_long_as_the_finalists_include_it() -> None:
    chief = promoting("search.finalists=1", trials=4)
    for number in range(4):
        add(chief, number)
    attempts = [take(chief, Worker(f"w{number}", "1")) for number in range(3)]
    epochs(chief, attempts[0], 0.5)  # the fourth trial waits, so this one is paused
    assert chief.state.trials[TrialId(attempts[0].trial)].state is TrialState.PAUSED
    assert chief.needed_workers == 4
    take(chief, Worker("w0", "1"))
    assert chief.needed_workers == 4
    epochs(chief, attempts[1], 0.9)  # this trial is the finalist instead
    assert chief.state.trials[TrialId(attempts[1].trial)].state is TrialState.RUNNING
    assert chief.needed_workers == 3


def test_only_running_trials_need_workers_after_a_budget_has_ended() -> None:
    chief = oracle("search.max_trials=9", "search.max_hours=1")
    for number in range(2):
        add(chief, number)
    take(chief, A)
    assert chief.needed_workers is None
    chief.expire(Instant(1e9 + 3601, 3601.0))
    assert chief.state.ending
    assert chief.needed_workers == sum(trial.state is TrialState.RUNNING for trial in chief.state.trials.values())


class Leaving(Search):
    """A search whose workers leave if they are not needed, but for `spare` ones."""

    def __init__(self, chief: Oracle, trials: int, spare: int, seed: int) -> None:
        super().__init__(chief, trials, workers=8, seed=seed)
        self.spare = spare
        self.left = 0

    def _ask(self, worker: Worker) -> None:
        super()._ask(worker)
        leases, needed = {held.name for held in self.chief.at_work()}, self.chief.needed_workers
        if needed is None or self.chief.state.finished or worker.name in leases:
            return
        if len(self._workers) > needed + self.spare:
            self._workers = [other for other in self._workers if other != worker]
            self.left += 1


def stopping(*settings: str) -> Oracle:
    state = StudyState()
    study = load(settings=["training.epochs=27", "search.max_trials=20", *settings])
    state.apply(Opened(at=0, term=1, writer="w", study=study, data="d", direction="max"))
    return Oracle(state, at(0))


@pytest.mark.parametrize("spare", [0, 1, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "settings",
    [(), ("search.early_stopping.policy=none",), ("search.early_stopping.policy=promotion", "search.finalists=3"),
     ("search.confirm.best=2", "search.confirm.seeds=2")],
)  # fmt: skip
def test_a_search_completes_all_that_it_must_although_workers_leave(
    settings: tuple[str, ...], seed: int, spare: int
) -> None:
    search = Leaving(stopping(*settings), 20, spare, seed)
    state = search.play()
    assert state.finished is not None
    assert not state.finished.failed
    assert search.left > 0
    assert len(state.suggested) == 20
    assert all(trial.state in {TrialState.COMPLETED, TrialState.STOPPED} for trial in state.trials.values())
    completed = sum(trial.state is TrialState.COMPLETED for trial in state.suggested)
    assert completed >= (3 if "search.finalists=3" in settings else 1)
    assert len(state.repetitions) == (4 if "search.confirm.best=2" in settings else 0)
