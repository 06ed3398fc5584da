"""After a search, its best trials are trained again with other seeds (search.confirm), and the best mean decides."""

import random
from collections.abc import Iterable

import pytest

from tests.search.played_search import Search, promoting
from tests.search.test_budgets import Night
from tests.search.test_control import requested
from tests.search.test_oracle import A, B, at
from tests.support.records import state_of
from tuner import names
from tuner.config.formats import FORMAT
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggestion, observations
from tuner.study.budgets import budget_uses
from tuner.study.records import Action, Created, Ended, Finished, Outcome, Record, TrialState, Value
from tuner.study.state import StudyState

TRIALS = (0.5, 0.9, 0.7, 0.8, 0.6)
"""Scores of the trials of the search. The best are 00001, 00003 and 00002."""


class ConfirmedNight(Night):
    """A study whose search has five trials and whose best three are trained again twice."""

    def __init__(self, *settings: str, scores: Iterable[float] = TRIALS) -> None:
        super().__init__("search.confirm.best=3", "search.confirm.seeds=2", "training.epochs=2", *settings)
        self.seconds = 0.0
        for number, score in enumerate(scores):
            self.add(number)
            self.train(score)

    def train(self, *values: float, worker: Worker = A, epoch_s: float = 1) -> TrialId:
        """Train the next trial for one epoch per value, and complete it unless it was stopped."""
        attempt = self.next(worker)
        for epoch, value in enumerate(values):
            self.seconds += epoch_s
            self.epoch(attempt, epoch, value, self.seconds)
        if self.state.trials[TrialId(attempt.trial)].state is TrialState.RUNNING:
            self.keep(self.chief.complete(attempt, at(self.seconds)) + self.chief.finish(at(self.seconds)))
        return TrialId(attempt.trial)

    def next(self, worker: Worker = A) -> AttemptClaim:
        return self.take(worker, self.seconds)

    def exhaust(self) -> list[Record]:
        """The algorithm has no further suggestion."""
        self.chief.exhausted = True
        return self.keep(self.chief.finish(at(self.seconds)))

    @property
    def repeated(self) -> list[str | None]:
        return [self.state.trials[trial_id].repeats for trial_id in self.state.repetitions]

    @property
    def best(self) -> str:
        return str(self.state.best()[0].trial_id)


# ---- which trials are repeated ------------------------------------------------------------------
def test_the_best_trials_are_repeated_seed_by_seed_when_the_search_itself_has_ended() -> None:
    night = ConfirmedNight()
    assert night.state.repetitions == []
    records = night.exhaust()
    assert [record.kind for record in records] == ["created"] * 6
    assert {record.format for record in records} == {FORMAT}, "readers of 1.x would count them as trials"
    assert night.repeated == ["00001", "00003", "00002"] * 2
    assert night.state.repetitions == [f"{number:05d}" for number in range(5, 11)]
    assert not night.state.finished
    for trial_id in night.state.repetitions:
        trial = night.state.trials[trial_id]
        assert trial.repeats is not None
        assert trial.hyperparameters == night.state.trials[trial.repeats].hyperparameters
    assert [night.train(0.8) for _ in range(6)] == night.state.repetitions
    assert night.state.finished
    assert night.state.finished.reason == "all trials have ended"
    assert repr(state_of(night.records)) == repr(night.state)


def test_repetitions_have_other_seeds_than_their_trial_and_each_other() -> None:
    from tuner.training.seeding import trial_seed  # imports Keras

    night = ConfirmedNight()
    night.exhaust()
    trials = [*night.state.repetitions, *filter(None, night.repeated)]
    assert len({trial_seed(night.state.settings.seed, trial) for trial in trials}) == len(set(trials)) == 9


def test_nothing_is_repeated_unless_it_is_set() -> None:
    night = ConfirmedNight("search.confirm.seeds=0")
    assert [record.kind for record in night.exhaust()] == ["finished"]
    assert night.state.confirmation == []
    assert night.best == "00001"


def test_a_trial_without_a_saved_model_is_not_repeated() -> None:
    night = ConfirmedNight(scores=())
    night.add(0)
    attempt = night.next()
    night.keep(night.chief.report(attempt, 0, {"val_accuracy": 0.99}, None, at(1)))
    night.keep(night.chief.complete(attempt, at(1)))
    night.add(1)
    night.train(0.5)
    night.exhaust()
    assert night.repeated == ["00001"] * 2


def test_a_trial_of_hyperband_is_repeated_once_and_for_its_own_number_of_epochs() -> None:
    night = ConfirmedNight("search.algorithm=hyperband", "training.epochs=9", scores=())
    short: dict[str, Value] = {
        "units": 1,
        names.HP_EPOCHS: 3,
        names.HP_INITIAL_EPOCH: 0,
        names.HP_BRACKET: 1,
        names.HP_ROUND: 0,
    }
    continued: dict[str, Value] = {
        "units": 1, names.HP_EPOCHS: 9, names.HP_INITIAL_EPOCH: 3, names.HP_BRACKET: 1, names.HP_ROUND: 1,
        names.HP_PARENT: "00000",
    }  # fmt: skip
    other: dict[str, Value] = {**short, "units": 2}
    for number, (values, score) in enumerate(((short, 0.7), (other, 0.5), (continued, 0.8))):
        suggestion = Suggestion(TrialId(f"{number:05d}"), values, {})
        night.keep(night.chief.add(suggestion, at(0)))
        night.train(score)
    night.exhaust()
    assert night.repeated == ["00002", "00001"] * 2
    repeated, of_other = (night.state.trials[trial_id].hyperparameters for trial_id in night.state.repetitions[:2])
    assert repeated == {"units": 1, names.HP_EPOCHS: 9, names.HP_INITIAL_EPOCH: 0}
    assert of_other == {"units": 2, names.HP_EPOCHS: 3, names.HP_INITIAL_EPOCH: 0}


# ---- who wins -----------------------------------------------------------------------------------
def test_the_best_mean_of_the_repetitions_decides_and_the_score_of_the_search_does_not_count() -> None:
    night = ConfirmedNight()
    night.exhaust()
    for score in (0.6, 0.75, 0.7, 0.6, 0.77, 0.74):  # in turn of 00001, 00003, 00002
        night.train(score)
    means = [(candidate.original.trial_id, candidate.mean) for candidate in night.state.confirmation]
    assert means == [("00003", pytest.approx(0.76)), ("00002", pytest.approx(0.72)), ("00001", pytest.approx(0.6))]
    # 00001's 0.9 would win without repetitions, and with the mean of all three scores of 00002 (0.713) and 00001 (0.7)
    assert [trial.trial_id for trial in night.state.best(5)] == ["00003", "00010", "00001", "00004", "00000"]


def test_the_evaluated_model_is_the_best_one_of_the_winner_whose_model_was_saved() -> None:
    night = ConfirmedNight()
    night.exhaust()
    for score in (0.6, 0.95, 0.7, 0.6, 0.7, 0.74):
        night.train(score)
    assert night.best == "00006", "a repetition of 00003, which is better than its 0.8 in the search"
    assert night.state.best()[0].score == 0.95


def test_equal_means_are_decided_by_the_search() -> None:
    night = ConfirmedNight()
    night.exhaust()
    for _ in range(6):
        night.train(0.7)
    assert [candidate.original.trial_id for candidate in night.state.confirmation] == ["00001", "00003", "00002"]


def test_a_smaller_objective_wins_if_the_direction_is_min() -> None:
    night = ConfirmedNight()
    night.state.direction = "min"
    night.exhaust()
    assert night.repeated[:3] == ["00000", "00004", "00002"]
    for score in (0.5, 0.4, 0.45) * 2:
        night.train(score)
    assert night.state.confirmation[0].original.trial_id == "00004"


def test_failed_repetitions_neither_count_nor_end_the_search_as_given_up() -> None:
    night = ConfirmedNight("retries.failure=0", "search.max_consecutive_failures=2")
    night.exhaust()
    for number in range(6):
        attempt = night.next()
        if number % 3 == 0:  # both repetitions of the best trial
            night.keep(night.chief.give_back(attempt, Outcome.FAILED, "error", at(night.seconds)))
        else:
            night.seconds += 1
            night.epoch(attempt, 0, 0.6 + number / 100, night.seconds)
            night.keep(night.chief.complete(attempt, at(night.seconds)))
        night.keep(night.chief.finish(at(night.seconds)))
    assert night.state.finished
    assert not night.state.finished.failed
    assert [len(candidate.scores) for candidate in night.state.confirmation] == [2, 2, 0]
    assert night.state.confirmation[-1].original.trial_id == "00001", "no mean, so it cannot win"


def test_if_all_repetitions_fail_the_best_trial_of_the_search_wins() -> None:
    night = ConfirmedNight("retries.failure=0", "search.max_consecutive_failures=2")
    night.exhaust()
    for _ in range(6):
        night.keep(night.chief.give_back(night.next(), Outcome.FAILED, "error", at(9)))
        night.keep(night.chief.finish(at(9)))
    assert night.state.finished
    assert not night.state.finished.failed
    assert night.best == "00001"


# ---- what they are not --------------------------------------------------------------------------
def test_repetitions_are_neither_stopped_at_rungs_nor_compared_there() -> None:
    night = ConfirmedNight(
        "search.early_stopping.policy=stopping", "search.early_stopping.reduction_factor=2", "training.epochs=4"
    )
    night.exhaust()
    first = night.state.first.copy()
    for _ in range(6):
        trial = night.state.trials[night.train(0.1, 0.1, 0.1, 0.1)]
        assert (trial.state, trial.rungs) == (TrialState.COMPLETED, {})
    assert night.state.first == first


def test_repetitions_count_for_no_budget_of_trials_or_scores() -> None:
    night = ConfirmedNight("search.max_trials=5", "search.patience_trials=4", "search.target=0.99")
    uses = [use.used for use in budget_uses(night.state)]
    night.exhaust()
    for _ in range(6):
        night.train(0.995)
    assert [use.used for use in budget_uses(night.state)] == uses
    assert night.state.finished
    assert night.state.finished.reason == "all trials have ended"
    assert night.state.suggested_count == 5
    ended = [record for record in night.records if isinstance(record, Ended)]
    assert {str(observation.trial) for observation in observations(night.state, ended)} == {
        f"{number:05d}" for number in range(5)
    }, "the algorithm does not see them"


# ---- how the search itself ends -----------------------------------------------------------------
@pytest.mark.parametrize("setting", ["search.target=0.9", "search.patience_trials=3"])
def test_after_the_end_of_a_budget_of_results_the_best_trials_are_repeated(setting: str) -> None:
    night = ConfirmedNight(setting, scores=(0.8, 0.9, 0.7, 0.6, 0.5)[: 2 if "target" in setting else 5])
    assert night.state.ending
    assert night.repeated[:2] == ["00001", "00000"]
    assert not night.chief.starts_trials
    for _ in night.state.repetitions:
        night.train(0.5, 0.6)
    assert night.state.finished
    assert night.state.finished.budget == setting.partition("=")[0]
    assert {night.state.trials[trial].state for trial in night.state.repetitions} == {TrialState.COMPLETED}


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_with_promotion_the_repetitions_follow_the_finalists(restarts: bool, seed: int) -> None:
    chief = promoting("search.confirm.seeds=2", "search.confirm.best=2", epochs=9, trials=12)
    state = Search(chief, 12, 2, seed).play(restarts)
    assert len(state.repetitions) == 4
    assert state.finished
    assert {trial.state for trial in state.suggested} <= {TrialState.COMPLETED, TrialState.STOPPED}
    for trial_id in state.repetitions:
        repetition = state.trials[trial_id]
        assert (repetition.state, len(repetition.epochs)) == (TrialState.COMPLETED, 9)
        assert repetition.pauses == 0
    assert state.best()[0].trial_id == state.confirmation[0].best_training.trial_id


# ---- restarts -----------------------------------------------------------------------------------
def test_a_chief_restarted_at_every_step_repeats_the_same_trials() -> None:
    settings = ("search.confirm.seeds=3", "search.confirm.best=2", "search.early_stopping.policy=none")
    undisturbed = Search(promoting(*settings, epochs=3, trials=6), 6).play()
    disturbed = Search(promoting(*settings, epochs=3, trials=6), 6).play(restarts=True)
    assert len(undisturbed.repetitions) == 6
    for one, other in zip(undisturbed.trials.values(), disturbed.trials.values(), strict=True):
        assert (one.trial_id, one.repeats, one.score) == (other.trial_id, other.repeats, other.score)


def test_a_preempted_repetition_continues_before_others_begin_also_after_a_restart() -> None:
    night = ConfirmedNight()
    night.exhaust()
    attempt = night.next()
    night.epoch(attempt, 0, 0.5, 10)
    night.keep(night.chief.give_back(attempt, Outcome.PREEMPTED, "preempted", at(11)))
    night.restart()
    again = night.take(B, 0)
    assert (again.trial, again.number) == (attempt.trial, 2)
    assert night.chief.finish(at(0)) == []


def test_with_more_trials_only_new_ones_among_the_best_are_repeated() -> None:
    night = ConfirmedNight("search.max_trials=5")
    night.exhaust()
    for _ in range(6):
        night.train(0.7)
    assert night.state.finished
    night.restart("search.max_trials=6")
    night.seconds = 0
    assert night.chief.wants_suggestion
    night.add(11)
    night.train(0.85)
    records = night.exhaust()
    assert [record.repeats for record in records if isinstance(record, Created)] == ["00011", "00011"]
    for _ in range(2):
        night.train(0.75)
    assert night.state.finished
    assert night.state.confirmation[0].original.trial_id == "00011"
    assert night.best == "00011"


def test_a_repetition_that_a_user_has_stopped_does_not_come_back_after_a_restart() -> None:
    night = ConfirmedNight("training.epochs=3")
    night.exhaust()
    attempt = night.next()
    night.keep(night.chief.control(requested(Action.STOP, attempt.trial), at(night.seconds)))
    night.epoch(attempt, 0, 0.9, night.seconds + 1)
    assert night.state.trials[TrialId(attempt.trial)].state is TrialState.STOPPED
    night.restart()
    night.chief.exhausted = True
    assert not [record for record in night.chief.finish(at(0)) if isinstance(record, Created)]
    assert len(night.state.repetitions) == 6


def played(night: ConfirmedNight, seed: int) -> StudyState:
    """Two workers in turn do something at random, until the search has finished."""
    rng, held = random.Random(seed), dict[Worker, AttemptClaim]()
    night.exhaust()
    while not night.state.finished:
        worker = rng.choice([A, B])
        night.seconds += 1
        if worker not in held:
            trial, records = night.chief.grant(worker, at(night.seconds))
            night.keep(records)
            if trial:
                held[worker] = AttemptClaim(worker, trial.trial_id, trial.attempts)
            continue
        attempt = held.pop(worker)
        if rng.random() < 0.2:
            night.keep(night.chief.give_back(attempt, Outcome.PREEMPTED, "", at(night.seconds)))
        else:
            night.epoch(attempt, 0, rng.random(), night.seconds)
            night.keep(night.chief.complete(attempt, at(night.seconds)))
        night.keep(night.chief.finish(at(night.seconds)))
        assert repr(state_of(night.records)) == repr(night.state)
    return night.state


@pytest.mark.parametrize("seed", range(5))
def test_the_records_have_all_of_the_state_whatever_happens_to_the_repetitions(seed: int) -> None:
    state = played(ConfirmedNight(), seed)
    assert [len(candidate.scores) for candidate in state.confirmation] == [2, 2, 2]
    means = [candidate.mean for candidate in state.confirmation]
    assert means == sorted(means, key=lambda mean: -(mean or 0))
    assert isinstance(state.finished, Finished)
    assert isinstance(Oracle(state, at(0)), Oracle)
