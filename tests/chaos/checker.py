"""The verdict over a search: every rule held against all that the search left. A pure function."""

from collections import Counter
from dataclasses import dataclass

from tests.chaos.bucket_rules import check_best, check_history
from tests.chaos.evidence import Exit, Left, Role, records_of
from tests.chaos.findings import Findings, Rule, Violation
from tests.chaos.hours_rules import check_hours
from tests.chaos.journal_rules import Books
from tests.chaos.work_rules import check_work
from tuner.errors import ExitCode
from tuner.study.records import AttemptEnded, Ended, Leased, Opened, Outcome, Reported, TrialState

KILLED = 128 + 9


@dataclass(frozen=True)
class Counts:
    """How much there was to judge."""

    terms: int
    trials: dict[TrialState, int]
    attempts: int
    reports: int
    interruptions: dict[Outcome, int]
    """Attempts that ended without finishing their trial, or failed it."""
    repeated_epochs: int | None
    """Whole epochs that were trained again; None where the work left no marks."""


@dataclass(frozen=True)
class Verdict:
    """What the checker found."""

    violations: tuple[Violation, ...]
    looked: dict[Rule, int]
    """How many times each rule was looked at; one that was not is missing."""
    counts: Counts

    @property
    def holds(self) -> bool:
        """Whether nothing was lost."""
        return not self.violations


def check(left: Left) -> Verdict:
    """Judge a search that is over by what it left."""
    findings = Findings()
    books = Books(findings)
    for segment in left.segments:
        books.take(segment)
    books.close()
    check_best(books, left.objects, findings)
    check_hours(left.segments, findings)
    records = records_of(left.segments)
    repeated = None if left.marks is None else check_work(records, left.marks, left.reigns, findings)
    if left.history is not None:
        check_history(left.segments, left.history, findings)
    for exit_ in left.exits or ():
        allowed = allowed_codes(exit_)
        findings.expect(
            Rule.EXITS,
            exit_.code in allowed,
            f"{exit_.role} {exit_.name}",
            f"exited with {exit_.code}, and not with {' or '.join(map(str, sorted(allowed)))}",
        )
    ended = [record for record in records if isinstance(record, Ended)]
    tries = [record.outcome for record in records if isinstance(record, AttemptEnded)]
    counts = Counts(
        terms=sum(isinstance(record, Opened) for record in records),
        trials=dict(Counter(record.state for record in ended)),
        attempts=sum(isinstance(record, Leased) for record in records),
        reports=sum(isinstance(record, Reported) for record in records),
        interruptions=dict(Counter([*tries, *(record.outcome for record in ended if record.outcome)])),
        repeated_epochs=repeated,
    )
    return Verdict(tuple(findings.violations), dict(findings.looked), counts)


def allowed_codes(exit_: Exit) -> frozenset[int]:
    """Return the codes that a process may exit with, after what was done to it."""
    if exit_.killed:
        return frozenset({KILLED})
    codes = {ExitCode.PREEMPTED} if exit_.terminated else set()
    if exit_.late:
        codes.add(ExitCode.DONE)
    if exit_.replaced and exit_.role is Role.CHIEF:
        codes.add(ExitCode.FENCED)
    return frozenset(map(int, codes or {ExitCode.DONE}))
