"""The importance of hyperparameters in searches where it is known, and when nothing can be said."""

import math

import numpy as np
import pytest

from tuner.names import TrialId
from tuner.report.importance import Importances, TooFew, importances, varied
from tuner.study.objective import Objective
from tuner.study.records import TrialState, Value
from tuner.study.trial import Trial

MAX, MIN = Objective("score", "max"), Objective("score", "min")


def trials(count: int, score: str = "rate", seed: int = 0, **fixed: Value) -> list[Trial]:
    """Trials whose score follows from one hyperparameter (and a little noise), with two others that do nothing."""
    rng = np.random.default_rng(seed)
    all_trials = []
    for number in range(count):
        values: dict[str, Value] = {
            "rate": float(rng.random()),
            "optimizer": str(rng.choice(["adam", "sgd"])),
            "units": int(rng.integers(1, 9)),
            "tuner/epochs": int(rng.integers(9)),
            **fixed,
        }
        trial = Trial(TrialId(str(number)), values, state=TrialState.COMPLETED)
        effects = {"rate": values["rate"], "optimizer": float(values["optimizer"] == "adam"), "nothing": rng.random()}
        trial.score = float(effects[score]) + 0.05 * float(rng.normal())
        all_trials.append(trial)
    return all_trials


def shares(outcome: Importances | TooFew) -> dict[str, float]:
    assert isinstance(outcome, Importances)
    return {importance.hyperparameter: importance.share for importance in outcome.of}


@pytest.mark.parametrize(("which", "count"), [("rate", 40), ("rate", 1000), ("optimizer", 40)])
def test_what_decides_is_found_and_what_does_nothing_is_not_distinguished_from_0(which: str, count: int) -> None:
    outcome = importances(trials(count, which), MAX, 1)
    assert isinstance(outcome, Importances)
    assert outcome.of[0].hyperparameter == which
    assert outcome.of[0].share > 0.5
    assert outcome.of[0].interval_95[0] > 0.2
    assert outcome.predicted_share > 0.55
    for other in outcome.of[1:]:
        assert other.interval_95[0] <= 0.01
        assert abs(other.share) < 0.1
    assert {importance.hyperparameter for importance in outcome.of} == {"rate", "optimizer", "units"}


def test_if_nothing_decides_nothing_is_predicted() -> None:
    outcome = importances(trials(60, "nothing"), MAX, 1)
    assert isinstance(outcome, Importances)
    assert outcome.predicted_share < 0.2
    assert max(abs(importance.share) for importance in outcome.of) < 0.3


def test_the_direction_and_a_seed_change_little_and_the_same_seed_nothing() -> None:
    sample = trials(100)
    outcome = importances(sample, MAX, 1)
    assert importances(sample, MAX, 1) == outcome
    other = trials(100)
    for trial in other:
        trial.score = -(trial.score or 0.0)
    assert shares(importances(other, MIN, 1)) == pytest.approx(shares(outcome), abs=0.05)


def test_a_trial_stopped_early_is_behind_those_that_went_on_whatever_its_score() -> None:
    sample = trials(60, "nothing")
    for trial in sample:
        if trial.hyperparameters["optimizer"] == "sgd":  # its scores are as good, of one epoch
            trial.state, trial.epochs, trial.rungs = TrialState.STOPPED, {0: {}}, {0: trial.score or 0.0}
    by_name = shares(importances(sample, MAX, 1))
    assert by_name["optimizer"] > 0.5


@pytest.mark.parametrize(
    ("few", "sentence"),
    [
        ([], "No hyperparameter has been tried with more than one value."),
        (trials(1), "No hyperparameter has been tried with more than one value."),
        (
            trials(9),
            "9 trials with a score are too few to say which of 3 hyperparameters matter; at least 10 are needed.",
        ),
    ],
)
def test_too_few_trials_are_said_to_be_too_few(few: list[Trial], sentence: str) -> None:
    assert importances(few, MAX, 1) == TooFew(sentence)


def test_trials_without_a_score_and_values_of_one_branch_only_do_not_disturb() -> None:
    sample = trials(60)
    for trial in sample[::2]:
        trial.hyperparameters["momentum"] = float(len(trial.trial_id))
    failed = Trial(TrialId("failed"), {"rate": 0.5}, state=TrialState.FAILED)
    outcome = importances([*sample, failed], MAX, 1)
    assert isinstance(outcome, Importances)
    assert outcome.trials == 60
    assert "momentum" in {importance.hyperparameter for importance in outcome.of}


def test_numbers_that_are_infinite_too_large_or_none_are_values_like_others() -> None:
    sample = trials(60)
    values: tuple[Value, ...] = (0.1, math.inf, -math.inf, 1e39, 10**400)
    for number, trial in enumerate(sample):
        trial.hyperparameters |= {"cap": values[number % 5], "odd": (math.nan, 1)[number % 2]}
        trial.score = float(number % 5)
    outcome = importances(sample, MAX, 1)
    assert isinstance(outcome, Importances)
    assert outcome.of[0].hyperparameter == "cap"
    assert outcome.of[0].share > 0.5
    assert "odd" in shares(outcome)
    for trial in sample:
        trial.hyperparameters["odd"] = float("nan")
    assert "odd" not in varied(sample), "it is the same in all of them"


def test_values_that_are_the_same_in_all_trials_are_no_hyperparameters_of_the_search() -> None:
    assert varied(trials(20, name="same")) == ["rate", "optimizer", "units"]


def test_of_trials_that_are_all_equally_good_nothing_is_said_to_matter() -> None:
    """As of a data set that every model learns; with no difference there is nothing to predict."""
    equal = trials(20)
    for trial in equal:
        trial.score = 1.0
    sentence = "All 20 trials are equally good, so none of 3 hyperparameters made a difference."
    assert importances(equal, MAX, 1) == TooFew(sentence)


def hyperband(decides: str, seed: int) -> list[Trial]:
    """Two brackets; of the first the better half goes on twice, under its own hyperparameters."""
    rng = np.random.default_rng(seed)
    all_trials: list[Trial] = []
    for bracket, many in ((1, 40), (0, 20)):
        round_trials = trials(many, decides, seed + bracket)
        for round_ in range(3 if bracket else 1):
            for trial in round_trials:
                place = {"tuner/bracket": bracket, "tuner/round": round_, "tuner/epochs": 3**round_}
                trial.hyperparameters |= place
                trial.trial_id = TrialId(f"{len(all_trials):05d}")
                all_trials.append(trial)
            better = sorted(round_trials, key=lambda trial: -(trial.score or 0.0))[: len(round_trials) // 2]
            round_trials = [
                Trial(TrialId(""), trial.hyperparameters | {"tuner/trial_id": trial.trial_id}, state=trial.state)
                for trial in better
            ]
            for trial, parent in zip(round_trials, better, strict=True):
                trial.score = (parent.score or 0.0) + 0.2 + 0.05 * float(rng.normal())
    return all_trials


@pytest.mark.parametrize("seed", range(3))
def test_hyperbands_copies_of_a_choice_are_not_predicted_from_each_other(seed: int) -> None:
    sample = hyperband("nothing", seed)
    outcome = importances(sample, MAX, 1)
    assert isinstance(outcome, Importances)
    assert (len(sample), outcome.trials) == (90, 60)
    assert outcome.predicted_share < 0.1, "which the page warns of"


def test_what_decides_is_found_in_hyperbands_trials_too() -> None:
    outcome = importances(hyperband("rate", 0), MAX, 1)
    assert isinstance(outcome, Importances)
    assert outcome.of[0].hyperparameter == "rate"
    assert outcome.of[0].interval_95[0] > 0.2
    assert outcome.predicted_share > 0.6
