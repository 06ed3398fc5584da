"""Findings of `doctor`. A finding is the result of a check in one sentence, with a fix if one is needed."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, TypeAdapter


class Severity(StrEnum):
    """Severity of a finding."""

    FINE = "fine"
    WARNING = "warning"  # a release works, but not as well as it could
    BROKEN = "broken"  # a release cannot work


class Finding(BaseModel):
    """The result of a check."""

    model_config = ConfigDict(frozen=True)

    check: str
    """Name of the check, in one or two words."""
    severity: Severity
    what: str
    fix: str = ""
    """What to do, as sentences; "" if nothing needs to be done or `what` already contains it."""


FINDINGS: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])


def fine(check: str, what: str) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(check=check, severity=Severity.FINE, what=what)


def warning(check: str, what: str, fix: str = "") -> Finding:
    """Return the finding of something that could be improved."""
    return Finding(check=check, severity=Severity.WARNING, what=what, fix=fix)


def broken(check: str, what: str, fix: str = "") -> Finding:
    """Return the finding of something that prevents a release from working."""
    return Finding(check=check, severity=Severity.BROKEN, what=what, fix=fix)


CLOCK_WARNING_S, CLOCK_BROKEN_S = 5.0, 300.0
"""Differences above which a clock is reported. Tokens are rejected if clocks differ by five minutes."""


def clock_finding(check: str, time_s: float, reference_s: float, owner: str, reference: str) -> Finding:
    """Return the finding of a comparison of two clocks.

    Args:
        check: Name of the check.
        time_s: Time of the clock, in seconds since 1970.
        reference_s: Time of the reference, in whole seconds since 1970, as in HTTP's Date.
        owner: Name of the machine that has the clock, for the sentence.
        reference: Name of the machine that has the reference clock, for the sentence.
    """
    difference_s = time_s - reference_s
    relation = "ahead of" if difference_s > 0 else "behind"
    sentence = f"the clock of {owner} is {abs(difference_s):.0f} s {relation} that of {reference}"
    if abs(difference_s) > CLOCK_BROKEN_S:
        return broken(check, f"{sentence}, so tokens are rejected", "Synchronize the clock with NTP.")
    if abs(difference_s) > CLOCK_WARNING_S:
        return warning(check, sentence, "Synchronize the clock with NTP.")
    return fine(check, f"the clocks of {owner} and {reference} agree")
