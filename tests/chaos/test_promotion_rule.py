"""The checker of a chaos run knows which paused trials may continue."""

import pytest

from tests.chaos.checker import check
from tests.chaos.findings import Rule
from tests.chaos.story import PROMOTION, Story
from tuner.config.loading import load

TRIALS, EPOCHS = 6, 9
STUDY = load(recorded=PROMOTION, settings=["search.max_trials=20", f"training.epochs={EPOCHS}"])


def two_at_the_second_rung(continues: int) -> Story:
    """Two of six trials are paused at the second rung, the better one second; then one of them continues."""
    story = Story(STUDY)
    story.chief("only")
    trials = [story.create(number) for number in range(TRIALS)]
    for number, trial in enumerate(trials):
        story.lease(trial, "a")
        for epoch in range(3 if number < 2 else 1):
            story.epoch(trial, epoch, 0.5 + 0.1 * (number if number < 2 else -number))
        story.paused(trial)
    story.lease(trials[continues], "b")
    for epoch in range(3 if continues < 2 else 1, EPOCHS):
        story.epoch(trials[continues], epoch, 0.5)
    story.completed(trials[continues])
    for trial in trials:
        if trial != trials[continues]:
            story.stopped(trial)
    story.finished()
    return story


@pytest.mark.parametrize(("continues", "broken"), [(1, set()), (0, {Rule.PROMOTED}), (2, {Rule.PROMOTED})])
def test_only_the_best_trial_of_a_later_rung_continues_while_few_have_reached_it(
    continues: int, broken: set[Rule]
) -> None:
    violations = check(two_at_the_second_rung(continues).left()).violations
    assert {violation.rule for violation in violations} == broken
