"""What the times in a journal must hold to: the hours of workers by outcome add up to the leases."""

from tests.chaos.evidence import Segment
from tests.chaos.findings import Findings, Rule
from tuner.names import TrialId
from tuner.study.records import AttemptEnded, Ended, Leased, Opened, Paused
from tuner.study.state import StudyState
from tuner.study.worker_hours import worker_time

ROUNDED_S = 0.01
"""Sums of thousands of rounded times differ by less than that."""


def check_hours(segments: tuple[Segment, ...], findings: Findings) -> None:
    """Compare the hours that the program computes with a sum over the leases that is made here."""
    state = StudyState()
    before_s = term_s = leased_s = 0.0
    began: dict[TrialId, float] = {}
    for segment in segments:
        for record in segment.records:
            if isinstance(record, Opened):
                before_s, term_s = before_s + term_s, 0.0
            else:
                is_later = record.served_s is not None and record.served_s >= term_s
                what = f"{record.kind} at {record.served_s} s of its term follows a record at {term_s} s"
                findings.expect(Rule.HOURS, is_later, f"segment {segment.number}", what)
                term_s = max(term_s, record.served_s or 0.0)
            if isinstance(record, Leased):
                began[record.trial] = before_s + term_s
            elif isinstance(record, AttemptEnded | Paused | Ended):
                leased_s += before_s + term_s - began.pop(record.trial, before_s + term_s)
            try:
                state.apply(record)
            except ValueError:  # what it is, other rules find
                return
    computed = worker_time(state).leased_s
    leased_s += sum(before_s + term_s - since for since in began.values())
    what = f"the outcomes add up to {computed:.3f} s, the leases to {leased_s:.3f} s"
    findings.expect(Rule.HOURS, abs(computed - leased_s) < ROUNDED_S, "the journal's end", what)
