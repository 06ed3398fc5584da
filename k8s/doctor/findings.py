"""What `doctor` says: findings, each one sentence with its fix."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, TypeAdapter


class Severity(StrEnum):
    """How bad it is."""

    FINE = "fine"
    WARNING = "warning"  # it works, and not as it might
    BROKEN = "broken"  # a release cannot work


class Finding(BaseModel):
    """One finding."""

    model_config = ConfigDict(frozen=True)

    check: str
    """What was looked at, in a word or two."""
    severity: Severity
    what: str
    fix: str = ""
    """What mends it, where `what` does not say so."""


FINDINGS: TypeAdapter[list[Finding]] = TypeAdapter(list[Finding])


def fine(check: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check=check, severity=Severity.FINE, what=what)


def warning(check: str, what: str, fix: str = "") -> Finding:
    """Return that something might be better."""
    return Finding(check=check, severity=Severity.WARNING, what=what, fix=fix)


def broken(check: str, what: str, fix: str = "") -> Finding:
    """Return that something stops a release."""
    return Finding(check=check, severity=Severity.BROKEN, what=what, fix=fix)


CLOCK_WARNING_S, CLOCK_BROKEN_S = 5.0, 300.0
"""Google and Kubernetes refuse tokens of a clock that is five minutes off."""


def clock_finding(check: str, ours_s: float, theirs_s: float, whose: str, other: str) -> Finding:
    """Compare two clocks, in seconds since 1970; `theirs` has whole seconds, as HTTP's Date."""
    off = ours_s - theirs_s
    words = f"the clock of {whose} is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} that of {other}"
    if abs(off) > CLOCK_BROKEN_S:
        return broken(check, f"{words}, and tokens are refused", "Set it by NTP.")
    if abs(off) > CLOCK_WARNING_S:
        return warning(check, words, "Set it by NTP.")
    return fine(check, f"the clocks of {whose} and {other} agree")
