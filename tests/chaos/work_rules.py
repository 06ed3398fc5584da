"""What the work that was really done must hold to: whole epochs trained, whatever of them was reported."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any

from tests.chaos.evidence import Mark, Reign, What
from tests.chaos.findings import Findings, Rule
from tuner.names import TrialId
from tuner.study.records import Created, Leased, Record

KEY = "key"
"""The hyperparameter that tells trials apart where the trial's id is not known: in the space's own code."""


@dataclass
class _Work:
    """What one attempt trained."""

    leased: float
    marks: list[Mark] = field(default_factory=list)

    @property
    def began(self) -> Mark | None:
        return next((mark for mark in self.marks if mark.what is What.BEGIN), None)

    @property
    def ends(self) -> list[Mark]:
        return [mark for mark in self.marks if mark.what is What.END]

    @property
    def epochs(self) -> list[tuple[Mark, Mark]]:
        """Where each whole epoch began and ended."""
        return [
            (begin, end)
            for begin, end in pairwise(self.marks)
            if begin.what is What.BEGIN and end.what is What.END and begin.epoch == end.epoch
        ]


def check_work(
    records: Sequence[Record], marks: Iterable[Mark], reigns: Sequence[Reign] | None, findings: Findings
) -> int:
    """Hold the marks against the leases, and return how many whole epochs were trained more than once."""
    trials: dict[Any, list[TrialId]] = defaultdict(list)  # a trial and its repetitions have the same key
    for record in records:
        if isinstance(record, Created):
            trials[record.hyperparameters.get(KEY)].append(record.trial)
    work: dict[TrialId, dict[int, _Work]] = defaultdict(dict)
    leases: dict[tuple[TrialId, str], list[Leased]] = defaultdict(list)
    for record in records:
        if isinstance(record, Leased):
            work[record.trial][record.attempt] = _Work(record.at)
            leases[record.trial, record.worker].append(record)
    for mark, lease in _attributed(marks, trials, leases):
        where = f"worker {mark.worker}"
        if findings.expect(Rule.GRANTED, lease is not None, where, f"trains {mark.key}, which was not its to train"):
            assert lease is not None
            work[lease.trial][lease.attempt].marks.append(mark)
    always = (Reign(0.0, inf),)
    reigns = always if reigns is None else reigns
    return sum(_check_trial(trial, attempts, reigns, findings) for trial, attempts in work.items())


def _attributed(
    marks: Iterable[Mark], trials: Mapping[Any, Sequence[TrialId]], leases: dict[tuple[TrialId, str], list[Leased]]
) -> Iterable[tuple[Mark, Leased | None]]:
    """Yield each mark with the lease that it was made under: the worker's newest when that attempt started."""
    current: dict[tuple[str, int], Leased | None] = {}
    for mark in marks:
        process = mark.worker, mark.pid
        if mark.what is What.START:
            of_key = trials.get(mark.key, ())
            candidates = sorted((lease for trial in of_key for lease in leases[trial, mark.worker]), key=_leased_at)
            index = bisect_right([lease.at for lease in candidates], mark.at) - 1
            current[process] = candidates[index] if index >= 0 else None
        yield mark, current.get(process)


def _leased_at(lease: Leased) -> float:
    return lease.at


def _check_trial(trial: TrialId, attempts: dict[int, _Work], reigns: Sequence[Reign], findings: Findings) -> int:
    repeated = 0
    previous: tuple[int, _Work] | None = None
    for number, work in sorted(attempts.items()):
        began = work.began
        if began is None:
            continue  # it did not come so far
        later = [other for other in attempts if other > number]
        if later:
            _check_zombie(trial, number, work, attempts[min(later)].leased, reigns, findings)
            if began.at > attempts[min(later)].leased:
                continue  # it began what was another's already, and nobody waited for that
        if previous is not None:
            interruptions = number - previous[0]
            lost = {mark.epoch for mark in previous[1].ends if mark.epoch >= began.epoch and mark.at <= began.at}
            repeated += len(lost)
            findings.expect(
                Rule.REPEATS,
                len(lost) <= interruptions,
                f"trial {trial}",
                f"attempt {number} begins with epoch {began.epoch} again, and attempt {previous[0]} had done "
                f"{', '.join(map(str, sorted(lost)))}",
            )
        previous = number, work
    return repeated


def _check_zombie(
    trial: TrialId, number: int, work: _Work, since: float, reigns: Sequence[Reign], findings: Findings
) -> None:
    """Hold an attempt to what it did after another was handed out, and while it could have heard of that."""
    late = [
        end.epoch
        for begin, end in work.epochs
        if end.at > since and any(reign.first <= begin.at and end.at <= reign.last for reign in reigns)
    ]
    if any(reign.last > since for reign in reigns):
        findings.expect(
            Rule.ZOMBIES,
            len(late) <= 1,
            f"trial {trial}",
            f"attempt {number} went on for the epochs {late} after the next one was handed out",
        )
