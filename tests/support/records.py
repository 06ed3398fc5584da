"""What records of a journal add up to."""

from collections.abc import Iterable

from tuner.study.records import Record
from tuner.study.state import StudyState


def state_of(records: Iterable[Record]) -> StudyState:
    """Return the state of a study after these records."""
    state = StudyState()
    for record in records:
        state.apply(record)
    return state
