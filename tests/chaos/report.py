"""The verdict as a person reads it, and as JSON."""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.checker import Verdict
from tests.chaos.findings import Rule

MAX_LISTED = 20
"""Violations that are printed; all are in the JSON."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def print_verdict(verdict: Verdict) -> None:
    """Print a line a rule, and what was wrong."""
    table = Table("rule", "looked at", "violated")
    violated = [violation.rule for violation in verdict.violations]
    for rule in Rule:
        looked = verdict.looked.get(rule, 0)
        table.add_row(rule.value, f"{looked:,}" if looked else "not recorded", str(violated.count(rule)))
    console.print(table)
    counts = verdict.counts
    trials = ", ".join(f"{number} {state}" for state, number in counts.trials.items())
    attempts = ", ".join(f"{number} {outcome}" for outcome, number in counts.interruptions.items())
    repeated = "" if counts.repeated_epochs is None else f"; {counts.repeated_epochs} whole epochs trained again"
    console.print(f"trials: {trials}; attempts: {counts.attempts} ({attempts or 'none interrupted'})")
    console.print(f"reports: {counts.reports:,}{repeated}; chiefs: {counts.terms}")
    for violation in verdict.violations[:MAX_LISTED]:
        console.print(f"VIOLATED {violation.where}: {violation.what}  [{violation.rule.name}]", markup=False)
    if len(verdict.violations) > MAX_LISTED:
        console.print(f"… and {len(verdict.violations) - MAX_LISTED} more")
    console.print("Nothing was lost." if verdict.holds else f"{len(verdict.violations)} violations.")


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as plain values."""
    return {
        "holds": verdict.holds,
        "counts": vars(verdict.counts),
        "looked": {rule.name.lower(): number for rule, number in verdict.looked.items()},
        "violations": [
            {"rule": violation.rule.name.lower(), "where": violation.where, "what": violation.what}
            for violation in verdict.violations
        ],
    }
