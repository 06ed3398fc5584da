"""The checker finds what must not be, each kind of it, and nothing in a search that is as it must be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.evidence import Change, Left, Mark, ObjectEvent, Reign, Segment, What
from tests.chaos.findings import Rule
from tests.chaos.story import STUDY, Story, a_confirmation, a_contest, a_night
from tuner import names
from tuner.names import TrialId
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Outcome, Paused, Record, Reported, TrialState

TRIAL = TrialId("00000")
Spoil = Callable[[Left], Left]


# ---- spoiling --------------------------------------------------------------------------------------
def with_records(left: Left, records: list[Record], writer: str | None = None) -> Left:
    """Return the search with another journal, a record a segment; of the present chiefs, or all by `writer`."""
    segments = []
    opened = ""
    for number, record in enumerate(records, start=1):
        opened = record.writer if isinstance(record, Opened) else opened
        segments.append(Segment(number, writer or opened, (record,)))
    return replace(left, segments=tuple(segments))


def records(left: Left) -> list[Record]:
    return [record for segment in left.segments for record in segment.records]


def find(left: Left, kind: type[Record], nth: int = 0, **values: Any) -> int:
    """Return the place of a record, counted from 0, or from the end."""
    indices = [
        index
        for index, record in enumerate(records(left))
        if isinstance(record, kind) and all(getattr(record, key) == value for key, value in values.items())
    ]
    return indices[nth]


def without(kind: type[Record], nth: int = 0, **values: Any) -> Spoil:
    def spoil(left: Left) -> Left:
        index = find(left, kind, nth, **values)
        kept = records(left)
        return with_records(left, kept[:index] + kept[index + 1 :])

    return spoil


def twice(kind: type[Record], nth: int = 0, **values: Any) -> Spoil:
    def spoil(left: Left) -> Left:
        index = find(left, kind, nth, **values)
        kept = records(left)
        return with_records(left, [*kept[: index + 1], *kept[index:]])

    return spoil


def changed(kind: type[Record], nth: int = 0, *, to: dict[str, Any], **values: Any) -> Spoil:
    def spoil(left: Left) -> Left:
        index = find(left, kind, nth, **values)
        kept = records(left)
        kept[index] = kept[index].model_copy(update=to)
        return with_records(left, kept)

    return spoil


def moved(kind: type[Record], *, before: type[Record], nth: int = 0) -> Spoil:
    """Move the last of a kind before the nth of another."""

    def spoil(left: Left) -> Left:
        kept = records(left)
        record = kept.pop(find(left, kind, -1))
        kept.insert(find(left, before, nth), record)
        return with_records(left, kept)

    return spoil


def repeats(old: TrialId, new: TrialId) -> Spoil:
    """Let the first repetition of a trial repeat another one instead."""
    return changed(Created, repeats=old, to={"repeats": new})


def a_segment_is_missing(left: Left) -> Left:
    return replace(left, segments=left.segments[:5] + left.segments[6:])


def an_old_chief_still_writes(left: Left) -> Left:
    last = left.segments[-1]
    return replace(left, segments=(*left.segments[:-1], replace(last, writer="first")))


def the_budget_was_smaller(left: Left) -> Left:
    study = STUDY.model_copy(update={"retries": STUDY.retries.model_copy(update={"failure": 0})})
    return with_records(
        left, [r.model_copy(update={"study": study}) if isinstance(r, Opened) else r for r in records(left)]
    )


def another_epoch_was_lost(left: Left) -> Left:
    """The killed worker had trained two epochs that were not saved."""
    assert left.marks is not None
    index = next(i for i, mark in enumerate(left.marks) if mark.worker == "a" and mark.what is What.END and mark.epoch)
    lost = left.marks[index]
    more = (replace(lost, what=What.BEGIN, epoch=2), replace(lost, epoch=2))
    return replace(left, marks=(*left.marks[: index + 1], *more, *left.marks[index + 1 :]))


def a_zombie_goes_on(left: Left) -> Left:
    """The worker that lost its trial trains it for two epochs more, before it takes another trial."""
    assert left.marks is not None
    next_trial = next(i for i, mark in enumerate(left.marks) if mark.worker == "a" and mark.key == 1)
    more = [
        replace(left.marks[next_trial], key=0, what=what, epoch=e) for e in (2, 3) for what in (What.BEGIN, What.END)
    ]
    return replace(left, marks=(*left.marks[:next_trial], *more, *left.marks[next_trial:]))


def somebody_trains_what_nobody_gave_it(left: Left) -> Left:
    return replace(left, marks=(*(left.marks or ()), Mark(2e9, "d", 7, 0, What.START, 0)))


def a_model_is_stored_after_it_was_named(left: Left) -> Left:
    history = list(left.history or ())
    index = next(i for i, event in enumerate(history) if event.name.endswith(".keras"))
    return replace(left, history=(*history[:index], history[index + 1], history[index], *history[index + 2 :]))


def deletes(name: str) -> Spoil:
    """Delete a model right after the journal named it."""

    def spoil(left: Left) -> Left:
        history = list(left.history or ())
        index = history.index(ObjectEvent(Change.STORED, name)) + 2
        return replace(left, history=(*history[:index], ObjectEvent(Change.DELETED, name), *history[index:]))

    return spoil


def the_runner_up_is_gone(left: Left) -> Left:
    return replace(left, objects=left.objects - {names.checkpoint(STUDY.name, TRIAL, 2, 1)})


def exits(name: str, **values: Any) -> Spoil:
    def spoil(left: Left) -> Left:
        return replace(left, exits=tuple(replace(e, **values) if e.name == name else e for e in left.exits or ()))

    return spoil


BEST = names.checkpoint(STUDY.name, TrialId("00003"), 1, 1)
RESUMED = names.checkpoint(STUDY.name, TRIAL, 1, 0)

SPOILED: list[tuple[Rule, str, Spoil]] = [
    (Rule.SEGMENTS, "a segment is missing", a_segment_is_missing),
    (Rule.TERMS, "a term is opened again", changed(Opened, 1, to={"term": 1})),
    (Rule.TERMS, "no chief opened the first term", without(Opened)),
    (Rule.NEWEST_CHIEF, "an old chief still writes", an_old_chief_still_writes),
    (Rule.CREATED, "a trial is created twice", twice(Created)),
    (Rule.CREATED, "a trial was never created", without(Created)),
    (Rule.CREATED, "a trial is handed out before it is created", moved(Leased, before=Created, nth=-1)),
    (Rule.ATTEMPTS, "an attempt is left out", changed(Leased, trial=TRIAL, attempt=2, to={"attempt": 3})),
    (Rule.ATTEMPTS, "an attempt's number is given again", changed(Leased, trial=TRIAL, attempt=2, to={"attempt": 1})),
    (Rule.ATTEMPTS, "two attempts run at a time", twice(Leased, trial=TRIAL)),
    (Rule.STALE, "an old attempt's report counts", changed(Reported, 1, trial=TRIAL, to={"attempt": 1})),
    (Rule.STALE, "an old attempt completes the trial", changed(Ended, trial=TRIAL, to={"attempt": 1})),
    (Rule.STALE, "a report counts while nobody is at work", without(Leased, trial=TRIAL, attempt=2)),
    (Rule.ONCE, "a trial is counted twice", twice(Ended, trial=TRIAL)),
    (Rule.ONCE, "a report counts after the trial's end", moved(Ended, before=Reported, nth=-1)),
    (Rule.EPOCHS, "a report is lost", without(Reported, 1, trial=TRIAL)),
    (Rule.EPOCHS, "a report counts twice", twice(Reported, trial=TRIAL)),
    (Rule.EPOCHS, "a new attempt reports two epochs again", changed(Reported, 2, trial=TRIAL, to={"epoch": 0})),
    (Rule.BUDGETS, "a trial is tried more often than its budget", the_budget_was_smaller),
    (Rule.BUDGETS, "a trial is given up early", changed(Ended, outcome=Outcome.FAILED, to={"outcome": Outcome.LOST})),
    (Rule.BUDGETS, "a trial fails for no reason", changed(Ended, outcome=Outcome.FAILED, to={"outcome": None})),
    (Rule.SCORES, "a score is not what was reported", changed(Ended, trial=TRIAL, to={"score": 0.71})),
    (Rule.SCORES, "a score is not the best", changed(Ended, trial=TRIAL, to={"score": 0.6, "best_epoch": 2})),
    (Rule.SCORES, "a tie goes to the later epoch", changed(Ended, 3, to={"best_epoch": 2})),
    (Rule.SCORES, "a trial is complete without its last epoch", without(Reported, 2, trial=TRIAL)),
    (Rule.REPEATS, "two epochs are lost at once", another_epoch_was_lost),
    (Rule.ZOMBIES, "a zombie goes on", a_zombie_goes_on),
    (Rule.GRANTED, "a worker trains what nobody gave it", somebody_trains_what_nobody_gave_it),
    (Rule.NAMED, "a model is named too early", a_model_is_stored_after_it_was_named),
    (Rule.KEPT, "the best model is deleted", deletes(BEST)),
    (Rule.KEPT, "the model that a trial goes on from is deleted", deletes(RESUMED)),
    (Rule.BEST, "the second best model is gone", the_runner_up_is_gone),
    (Rule.FINISHED, "the search is not over", without(Finished)),
    (Rule.FINISHED, "a trial has not ended", without(Ended, 3)),
    (Rule.FINISHED, "more happens after the end", moved(Finished, before=Created, nth=-1)),
    (Rule.HOURS, "the time of a chief goes back", changed(Reported, 2, to={"served_s": 0.5})),
    (Rule.HOURS, "a record has no time", changed(Created, 1, to={"served_s": None})),
    (Rule.EXITS, "a fenced chief says that all went well", exits("chief-1", code=0)),
    (Rule.EXITS, "a chief gives up", exits("chief-2", code=3)),
    (Rule.EXITS, "a stopped worker says that all went well", exits("b", code=0)),
    (Rule.EXITS, "a worker crashes", exits("c", code=1)),
    (Rule.EXITS, "a worker had to be killed", exits("c", code=137)),
]


@pytest.mark.parametrize(
    "left", [a_night(), a_contest(), a_confirmation()], ids=["a night", "a contest", "a confirmation"]
)
def test_a_search_that_is_as_it_must_be_passes(left: Left) -> None:
    verdict = check(left)
    assert verdict.violations == ()
    assert verdict.holds


def test_every_rule_is_looked_at() -> None:
    assert set(check(a_night()).looked) == set(Rule) - {Rule.PROMOTED, Rule.REPEATED}
    assert Rule.PROMOTED in check(a_contest()).looked
    assert Rule.REPEATED in check(a_confirmation()).looked


def test_what_was_done_is_counted() -> None:
    counts = check(a_night()).counts
    assert counts.terms == 2
    assert counts.trials == {"COMPLETED": 2, "FAILED": 2}
    assert counts.attempts == 6
    assert counts.reports == 7
    assert counts.interruptions == {"lost": 1, "failed": 2, "out_of_memory": 1}
    assert counts.repeated_epochs == 1


@pytest.mark.parametrize(("rule", "what", "spoil"), SPOILED, ids=[f"{r.name.lower()}: {w}" for r, w, _ in SPOILED])
def test_it_is_found_that(rule: Rule, what: str, spoil: Spoil) -> None:
    assert rule in {violation.rule for violation in check(spoil(a_night())).violations}


SECOND, LAST = TrialId("00001"), TrialId("00004")
SPOILED_CONTEST: list[tuple[Rule, str, Spoil]] = [
    (
        Rule.PROMOTED,
        "a trial that is not among the best goes on",
        changed(Leased, 3, to={"trial": TRIAL, "attempt": 2}),
    ),
    (
        Rule.PROMOTED,
        "no finalist is trained to its end",
        changed(Ended, trial=SECOND, to={"state": TrialState.STOPPED}),
    ),
    (Rule.PROMOTED, "a trial is paused without a saved model", changed(Reported, 0, to={"checkpoint": None})),
    (Rule.ATTEMPTS, "a trial goes on that was not paused", without(Paused, trial=SECOND)),
    (Rule.SCORES, "a trial is paused with a score that was not reported", changed(Paused, to={"score": 0.9})),
    (Rule.STALE, "a paused trial is completed", changed(Ended, trial=LAST, to={"state": TrialState.COMPLETED})),
    (Rule.STALE, "a trial is paused twice", twice(Paused)),
    (Rule.FINISHED, "a paused trial has not ended", without(Ended, trial=LAST)),
    (Rule.KEPT, "the model of a paused trial is deleted", deletes(names.checkpoint(STUDY.name, SECOND, 1, 0))),
]


@pytest.mark.parametrize(
    ("rule", "what", "spoil"), SPOILED_CONTEST, ids=[f"{r.name.lower()}: {w}" for r, w, _ in SPOILED_CONTEST]
)
def test_with_promotion_it_is_found_that(rule: Rule, what: str, spoil: Spoil) -> None:
    assert rule in {violation.rule for violation in check(spoil(a_contest())).violations}


FIRST_REPETITION, WINNER = TrialId("00003"), TrialId("00006")
SPOILED_CONFIRMATION: list[tuple[Rule, str, Spoil]] = [
    (Rule.REPEATED, "a trial that is not among the best is trained again", repeats(SECOND, TrialId("00002"))),
    (Rule.REPEATED, "a repetition is repeated", changed(Created, -1, to={"repeats": FIRST_REPETITION})),
    (Rule.REPEATED, "another trial is trained than the one that is repeated", repeats(TRIAL, SECOND)),
    (Rule.REPEATED, "a trial is trained again before the search is over", moved(Created, before=Ended)),
    (
        Rule.KEPT,
        "the model of the winner's best training is deleted",
        deletes(names.checkpoint(STUDY.name, WINNER, 1, 2)),
    ),
    (Rule.KEPT, "the runner-up's model is deleted", deletes(names.checkpoint(STUDY.name, TRIAL, 1, 2))),
]


@pytest.mark.parametrize(
    ("rule", "what", "spoil"), SPOILED_CONFIRMATION, ids=[f"{r.name.lower()}: {w}" for r, w, _ in SPOILED_CONFIRMATION]
)
def test_with_repetitions_it_is_found_that(rule: Rule, what: str, spoil: Spoil) -> None:
    assert rule in {violation.rule for violation in check(spoil(a_confirmation())).violations}


def test_every_rule_can_be_broken() -> None:
    assert {rule for rule, _, _ in [*SPOILED, *SPOILED_CONTEST, *SPOILED_CONFIRMATION]} == set(Rule)


def test_a_journal_alone_is_judged_by_the_rules_for_journals() -> None:
    night = a_night()
    verdict = check(Left(night.segments, night.objects))
    assert verdict.holds
    unlooked = {Rule.REPEATS, Rule.ZOMBIES, Rule.GRANTED, Rule.NAMED, Rule.KEPT, Rule.EXITS, Rule.PROMOTED,
        Rule.REPEATED,
    }  # fmt: skip
    assert set(Rule) - set(verdict.looked) == unlooked


def test_a_zombie_that_nobody_could_tell_is_not_blamed() -> None:
    night = a_zombie_goes_on(a_night())
    assert night.marks is not None
    times = [mark.at for mark in night.marks]
    for reigns, blamed in (
        ((Reign(times[0], times[-1]),), True),
        ((), False),
        ((Reign(times[0], times[0] + 1),), False),
    ):
        broken = {violation.rule for violation in check(replace(night, reigns=reigns)).violations}
        assert (Rule.ZOMBIES in broken) == blamed


def test_a_zombie_that_begins_a_trial_anew_repeats_nothing_that_anybody_waits_for() -> None:
    story = Story()
    story.chief("only")
    trial = story.create(0)
    story.lease(trial, "a")
    for epoch in range(2):
        story.epoch(trial, epoch, 0.5)
    story.interrupted(trial, Outcome.LOST)
    story.lease(trial, "b")  # and frozen at once
    story.interrupted(trial, Outcome.LOST)
    story.lease(trial, "c")
    story.epoch(trial, 2, 0.5)
    story.completed(trial)
    story.zombie(trial, "b", 0)
    story.finished()
    verdict = check(story.left())
    assert verdict.holds
    assert verdict.counts.repeated_epochs == 0


def test_work_that_the_same_worker_does_again_is_not_taken_for_its_first_attempts() -> None:
    story = Story()
    story.chief("only")
    trial = story.create(0)
    for _ in range(3):
        story.lease(trial, "a")
        story.train(trial, 0)
        story.interrupted(trial, Outcome.LOST)
    story.lease(trial, "a")
    for epoch in range(3):
        story.epoch(trial, epoch, 0.5)
    story.completed(trial)
    story.finished()
    verdict = check(story.left())
    assert verdict.holds
    assert verdict.counts.repeated_epochs == 3
