"""The rules that a search must hold to, and the findings about them."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Rule(StrEnum):
    """What must hold of every search, as a sentence."""

    SEGMENTS = "the journal's segments are numbered from 1 without gaps"
    TERMS = "every chief opens a higher term than the one before it"
    NEWEST_CHIEF = "no record of an older chief follows one of a newer chief"
    CREATED = "a trial is created once, before anything else happens to it"
    ATTEMPTS = "attempts are numbered from 1 without gaps, and one runs at a time"
    STALE = "only the running attempt reports and ends"
    PROMOTED = "a paused trial goes on if it is among the best of its rung, or if there is nothing left to suggest"
    REPEATED = "the best trials are trained again after the search, as often as search.confirm says"
    ONCE = "a trial ends once, and nothing happens to it afterwards"
    EPOCHS = "epochs are reported in order, and a new attempt goes on where the trial was"
    BUDGETS = "a trial is tried as often as its budgets allow, neither more nor less"
    SCORES = "a trial with a score has all its epochs, and the best of them is its score"
    REPEATS = "an interruption repeats one whole epoch at most"
    ZOMBIES = "an attempt that was replaced ends one more epoch at most while there is a chief to tell it"
    GRANTED = "nothing is trained but what the chief handed out"
    NAMED = "a saved model is in the bucket when the journal names it"
    KEPT = "no saved model is deleted that a trial goes on from, or that is among the best two"
    BEST = "the models of the best two trials are in the bucket"
    FINISHED = "the search is over, and all its trials have ended"
    HOURS = "the time of a chief never goes back, and the hours of workers by outcome add up to the leases"
    EXITS = "every process ended by itself, with the code that says why"


@dataclass(frozen=True)
class Violation:
    """Something that must not be."""

    rule: Rule
    where: str
    """Segment, trial or process."""
    what: str


@dataclass
class Findings:
    """Collects what was looked at, and what was wrong."""

    looked: Counter[Rule] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def expect(self, rule: Rule, holds: bool, where: str, what: str) -> bool:
        """Note that a rule was looked at in one place, and a violation where it does not hold there."""
        self.looked[rule] += 1
        if not holds:
            self.violations.append(Violation(rule, where, what))
        return holds
