"""What the bucket must hold to: a saved model is there when the journal names it, and as long as it is needed."""

from collections.abc import Iterable, Sequence

from tests.chaos.evidence import Change, ObjectEvent, Segment
from tests.chaos.findings import Findings, Rule
from tests.chaos.journal_rules import Books
from tuner import names
from tuner.study.records import Reported

KEPT = 2
"""The best trial's model, and the runner-up's."""


def check_history(segments: Sequence[Segment], history: Iterable[ObjectEvent], findings: Findings) -> None:
    """Replay what the bucket did, the journal's segments among it, and look at every saved model on the way."""
    by_number = {segment.number: segment for segment in segments}
    books = Books(Findings())  # the journal itself is judged elsewhere
    existing: set[str] = set()
    for event in history:
        number = names.parse_journal_segment(event.name)
        if number is not None and event.change is Change.STORED and number in by_number:
            segment = by_number[number]
            where = f"segment {number}"
            for record in segment.records:
                if isinstance(record, Reported) and record.checkpoint is not None:
                    what = f"{record.checkpoint} is named, and not there"
                    findings.expect(Rule.NAMED, record.checkpoint in existing, where, what)
            books.take(segment)
        elif event.change is Change.STORED:
            existing.add(event.name)
        else:
            existing.discard(event.name)
            needed = _needed(books)
            findings.expect(
                Rule.KEPT, event.name not in needed, event.name, "is deleted, and is one that is still needed"
            )


def check_best(books: Books, objects: frozenset[str], findings: Findings) -> None:
    """Look for the models of the best two trials."""
    for account in books.best(KEPT):
        assert account.ended is not None
        assert account.ended.best_epoch is not None
        name = account.checkpoints[account.ended.best_epoch]
        findings.expect(Rule.BEST, name in objects, f"trial {account.trial}", f"{name} is not in the bucket")


def _needed(books: Books) -> set[str]:
    """Return the saved models that may not be deleted; those of which the journal says so are not among them."""
    going_on = [account for account in books.accounts.values() if account.ended is None]
    needed = {account.newest for account in going_on}
    direction = books.opened.direction if books.opened else "max"
    for account in going_on:
        if (best := account.best_epoch(direction)) is not None:
            needed.add(account.checkpoints.get(best))
    best_ended = [account for account in books.best(KEPT) if account.ended and account.ended.best_epoch is not None]
    needed.update(account.checkpoints[account.ended.best_epoch] for account in best_ended)  # type: ignore[union-attr,index]
    return {name for name in needed if name is not None}
