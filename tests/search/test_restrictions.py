"""Which configurations are suggested: first those that the user names, none twice, and none that is rejected."""

import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner
import pytest
from sklearn.exceptions import ConvergenceWarning

from tests.search.test_suggester import created, recovered
from tuner.config.constraint_settings import Constraints
from tuner.config.loading import load
from tuner.config.settings import Algorithm, Study
from tuner.errors import SpaceError
from tuner.names import TrialId
from tuner.search.constraints import rejection
from tuner.search.suggester import NoSuggestion, Restrictions, Suggester, Suggestion, make_suggester
from tuner.search.suggester.grid import Grid
from tuner.search.suggester.untried import REJECTIONS
from tuner.study.objective import Objective
from tuner.study.records import Ended, Leased, Opened, Record, TrialState, Value

pytestmark = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")

FIRST: list[dict[str, Value]] = [{"width": 40, "kind": "b"}, {"width": 20, "kind": "a", "rate": 0.2}]


def space() -> keras_tuner.HyperParameters:
    """Return a space of 20 configurations: 5 widths, with kind b or with kind a and one of three rates."""
    hp = keras_tuner.HyperParameters()
    hp.Int("width", 20, 100, step=20)
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["a"]):
        hp.Choice("rate", [0.1, 0.2, 0.3])
    return hp


def study(algorithm: Algorithm, trials: int = 100) -> Study:
    return load(settings=[f"search.algorithm={algorithm}", f"search.max_trials={trials}", "training.epochs=27"])


def chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}


class Searched:
    """A search with two trials at a time, whose chief is replaced after `restart_after` suggestions."""

    def __init__(
        self, algorithm: Algorithm, restrictions: Restrictions, restart_after: int | None = None, trials: int = 100
    ) -> None:
        self.study = study(algorithm, trials)
        self.restrictions = restrictions
        self.journal: list[Record] = [Opened(at=0, term=1, writer="w", study=self.study, data="d", direction="max")]
        self.suggestions: list[Suggestion] = []
        running: list[TrialId] = []
        chief = self.chief()
        while True:
            if len(self.suggestions) == restart_after:
                restart_after, chief = None, self.chief()
                chief.restore(recovered(self.journal, 5))
            suggestion = chief.suggest() if len(running) < 2 else NoSuggestion.WAIT
            if isinstance(suggestion, Suggestion):
                self.suggestions.append(suggestion)
                leased = Leased(at=0, trial=suggestion.trial, attempt=1, worker="w", incarnation="i")
                self.journal += [created(suggestion), leased]
                running.append(suggestion.trial)
            elif running:
                self.end(chief, running.pop(0))
            else:
                break

    def chief(self) -> Suggester:
        return make_suggester(self.study, space(), Objective("val_accuracy"), self.restrictions)

    def end(self, chief: Suggester, trial: TrialId) -> None:
        failed = trial == "00003"
        score = None if failed else random.Random(trial).random()
        state = TrialState.FAILED if failed else TrialState.COMPLETED
        chief.ended(trial, state, score, 0)
        self.journal.append(Ended(at=0, trial=trial, attempt=1, state=state, score=score, best_epoch=0))

    @property
    def values(self) -> list[dict[str, Any]]:
        """The configurations in the order of the suggestions, each once with Hyperband too."""
        return [
            chosen(suggestion.values)
            for suggestion in self.suggestions
            if not suggestion.values.get("tuner/round", 0)  # continues an earlier trial
        ]


def keys(values: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(sorted(each.items())) for each in values]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_configuration_of_a_finite_space_is_suggested_once(algorithm: Algorithm) -> None:
    suggested = keys(Searched(algorithm, Restrictions()).values)
    assert len(set(suggested)) == len(suggested)
    # Hyperband with 27 epochs begins fewer than 20 trials in its first bracket, but all of them in the following ones
    assert len(suggested) == 20


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_configurations_of_search_first_are_suggested_first_and_only_once(algorithm: Algorithm) -> None:
    search = Searched(algorithm, Restrictions(FIRST))
    assert search.values[:2] == FIRST
    suggested = keys(search.values)
    assert len(set(suggested)) == len(suggested) == 20


def too_wide(values: Mapping[str, Value]) -> bool:
    return int(values["width"]) > 60


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_what_a_constraint_rejects_is_never_suggested_and_everything_else_is(
    algorithm: Algorithm, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Mapping[str, Value]] = []

    def is_rejected(values: Mapping[str, Value]) -> bool:
        asked.append(dict(values))
        return too_wide(values)

    search = Searched(algorithm, Restrictions(FIRST, is_rejected))
    assert all(values["width"] <= 60 for values in search.values)
    assert len(set(keys(search.values))) == len(search.values) == 12
    rejected = keys([dict(values) for values in asked if too_wide(values)])
    assert rejected
    assert len(set(rejected)) == len(rejected)  # not even considered again


@pytest.mark.parametrize("restart_after", [1, 4, 9])
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_restarted_chief_remembers_what_came_first_and_what_was_rejected(
    algorithm: Algorithm, restart_after: int
) -> None:
    restrictions = Restrictions(FIRST, too_wide)
    restarted = Searched(algorithm, restrictions, restart_after, trials=11)
    assert restarted.suggestions == Searched(algorithm, restrictions, trials=11).suggestions


@pytest.mark.parametrize("algorithm", [Algorithm.RANDOM, Algorithm.TPE, Algorithm.BAYESIAN, Algorithm.HYPERBAND])
def test_a_constraint_that_nothing_satisfies_ends_the_search_and_says_so(
    algorithm: Algorithm, caplog: pytest.LogCaptureFixture
) -> None:
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    asked = []

    def everything(values: Mapping[str, Value]) -> bool:
        asked.append(values)
        return True

    chief = make_suggester(study(algorithm), hp, Objective("val_accuracy"), Restrictions((), everything))
    with caplog.at_level(logging.WARNING):
        assert chief.suggest() is NoSuggestion.EXHAUSTED
    assert len(asked) == REJECTIONS
    assert f"search.constraints rejected {REJECTIONS} configurations in a row" in caplog.text
    assert "after 0 trials" in caplog.text


@pytest.mark.parametrize("widths", [[512, 64, 128], [64, 512, 128]])
def test_a_grid_skips_any_number_of_rejected_combinations(widths: list[int]) -> None:
    """A grid changes its first hyperparameter last, so a width that is too large rejects a whole block in a row."""
    others = REJECTIONS + 50
    hp = keras_tuner.HyperParameters()
    hp.Choice("width", widths)
    hp.Int("other", 1, others)
    restrictions = Restrictions((), lambda values: int(values["width"]) > 256)
    begun = study(Algorithm.GRID, 10_000)
    journal: list[Record] = [Opened(at=0, term=1, writer="w", study=begun, data="d", direction="max")]
    chief = make_suggester(begun, hp, Objective("val_accuracy"), restrictions)
    suggested, slices, since = [], 0, 0
    while (suggestion := chief.suggest()) is not NoSuggestion.EXHAUSTED:
        if isinstance(suggestion, Suggestion):
            suggested.append(suggestion.values)
            since = 0
            chief.ended(suggestion.trial, TrialState.COMPLETED, 0.5, 0)
            ended = Ended(at=0, trial=suggestion.trial, attempt=1, state=TrialState.COMPLETED, score=0.5, best_epoch=0)
            leased = Leased(at=0, trial=suggestion.trial, attempt=1, worker="w", incarnation="i")
            journal += [created(suggestion), leased, ended]
            if len(suggested) == others + 1:  # a restarted chief continues in the third block
                chief = make_suggester(begun, hp, Objective("val_accuracy"), restrictions)
                chief.restore(recovered(journal, 5))
            continue
        assert suggestion is NoSuggestion.CONTINUE
        slices, since = slices + 1, since + 1
        assert since < 2 * others, "the grid does not advance"
    assert len(set(keys(suggested))) == len(suggested) == 2 * others
    assert slices >= others // Grid.rejections


def test_a_constraint_compares_the_number_of_parameters() -> None:
    sizes: dict[int, int | None] = {1: 5_000_000, 2: 5_000_001, 3: None}
    count: Callable[[Mapping[str, Value]], int | None] = lambda values: sizes[int(values["width"])]  # noqa: E731
    is_rejected = rejection(Constraints(parameters=5_000_000), count, 10, [])
    assert is_rejected is not None
    assert [is_rejected({"width": width}) for width in sizes] == [False, True, False]
    assert rejection(Constraints(), count, None, []) is None
    with pytest.raises(SpaceError, match="cannot be checked"):
        rejection(Constraints(parameters=5_000_000), count, None, [])
    with pytest.raises(SpaceError, match=r"search.first\[1\]: the model has 5,000,001 parameters"):
        rejection(Constraints(parameters=5_000_000), count, 10, [{"width": 1}, {"width": 2}])
