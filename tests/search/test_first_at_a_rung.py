"""The first trials at a rung, which had nobody to be compared with: they are compared again when others have come."""

from collections.abc import Sequence

from tests.search.test_early_stopping import epochs, taken_up_again, trained
from tests.search.test_oracle import B, add, at, oracle, take
from tuner.names import TrialId
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.study.records import Outcome, TrialState


def side_by_side(chief: Oracle, *curves: Sequence[float]) -> list[TrialState]:
    """Train trials at the same time, an epoch each in turn, each to where it is stopped; return what became of them."""
    attempts = []
    for number in range(len(curves)):
        add(chief, number)
        attempts.append(take(chief, Worker(f"w{number}", "1")))
    for epoch in range(max(map(len, curves))):
        for attempt, curve in zip(attempts, curves, strict=True):
            epochs(chief, attempt, *curve[epoch : epoch + 1], first=epoch)
    return [chief.state.trials[TrialId(attempt.trial)].state for attempt in attempts]


def test_whoever_came_first_to_a_rung_goes_on_only_until_a_better_one_has_come() -> None:
    chief = oracle("training.epochs=9")
    states = side_by_side(chief, [0.5] * 6, [0.6] * 6)
    assert states == [TrialState.STOPPED, TrialState.RUNNING]
    trial = chief.state.trials[TrialId("00000")]
    assert (len(trial.epochs), trial.reason) == (4, "rung 1 (epoch 3): val_accuracy 0.5000 is not the best of 2")
    # at the lowest rung not before as many have come as are always compared there
    chief = oracle("training.epochs=9", "search.early_stopping.min_epochs=2")
    assert side_by_side(chief, [0.5] * 4, [0.6] * 4) == [TrialState.RUNNING] * 2
    chief = oracle("training.epochs=9", "search.early_stopping.min_epochs=2")
    assert side_by_side(chief, [0.5] * 4, [0.7] * 4, [0.6] * 2) == [
        TrialState.STOPPED, TrialState.RUNNING, TrialState.STOPPED,
    ]  # fmt: skip


def test_who_has_overtaken_those_that_were_better_at_the_rung_goes_on() -> None:
    chief = oracle("training.epochs=9", "search.early_stopping.min_epochs=3")
    assert trained(chief, 9, 0.3, 0.3, 0.3, *[0.95] * 6) is TrialState.COMPLETED
    assert side_by_side(chief, [0.5, 0.5, 0.5, 0.8, 0.9], [0.6] * 5) == [TrialState.RUNNING] * 2
    chief = oracle("training.epochs=9")
    assert side_by_side(chief, [0.5, 0.5, 0.5, 0.8, 0.8], [0.6, 0.6, 0.6, 0.81])[0] is TrialState.STOPPED


def test_one_of_the_first_that_is_among_the_best_of_all_that_came_since_goes_on() -> None:
    chief = oracle("training.epochs=9", "search.early_stopping.min_epochs=3")
    add(chief, 0)
    attempt = take(chief, B)
    epochs(chief, attempt, 0.7, 0.7, 0.7)
    for number, value in enumerate((0.8, 0.3, 0.1, 0.1, 0.1), 1):
        trained(chief, number, *[value] * 3)
    epochs(chief, attempt, 0.7, first=3)
    assert chief.state.trials[TrialId("00000")].state is TrialState.RUNNING  # second of six


def test_a_failed_trial_is_none_of_the_first() -> None:
    chief = oracle("training.epochs=9", "retries.failure=0", "search.max_consecutive_failures=9")
    add(chief, 0)
    attempt = take(chief, B)
    epochs(chief, attempt, 0.9)
    chief.give_back(attempt, Outcome.FAILED, "", at(1))
    for number in (1, 2, 3):
        trained(chief, number, 0.1 * number)
    assert chief.state.first == {0: ["00001", "00002", "00003"]}


def test_who_came_when_there_were_others_is_compared_once() -> None:
    chief = oracle("training.epochs=9")
    for number in range(3):
        trained(chief, number, 0.1)
    add(chief, 3)
    later = take(chief, B)
    epochs(chief, later, 0.5)
    for number in range(4, 8):
        trained(chief, number, 0.9)
    epochs(chief, later, 0.5, first=1)
    assert chief.state.trials[TrialId("00003")].state is TrialState.RUNNING


def test_one_that_began_anew_is_compared_again_where_it_has_come_as_far_as_before() -> None:
    chief = oracle("training.epochs=9")
    add(chief, 0)
    first = take(chief, B)
    for epoch in range(3):
        chief.report(first, epoch, {"val_accuracy": 0.8}, None, at(epoch))  # its models are not saved
    trained(chief, 1, 0.9, 0.9, 0.9)
    chief, second = taken_up_again(chief, first)
    epochs(chief, second, 0.8, 0.8, 0.8)
    assert chief.state.trials[TrialId("00000")].state is TrialState.RUNNING
    epochs(chief, second, 0.8, first=3)
    assert chief.state.trials[TrialId("00000")].state is TrialState.STOPPED
