"""Which outages of the chief `run` shows: none that only the chief's start explains."""

from tuner.local.starting_chief import JOINING_S, PAUSE_S, STARTING_S, StartingChief
from tuner.worker.chief_outage import FIRST_S

LINE = "the chief at 127.0.0.1:1 has been unreachable for 8 s (Connection refused), so this worker keeps trying"
LATER = LINE.replace("8 s", "38 s")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def started() -> tuple[StartingChief, Clock]:
    clock = Clock()
    return StartingChief(clock), clock


def test_a_chief_that_is_only_starting_is_not_called_unreachable() -> None:
    chief, clock = started()
    clock.now += FIRST_S
    chief.works(5.0)
    assert list(chief.shown({"w0": [LINE], "w1": [LINE]}, ())) == []
    clock.now += 4
    chief.opens_study()
    assert list(chief.shown({"w0": [], "w1": []}, ())) == []
    clock.now += JOINING_S
    assert list(chief.shown({"w0": [], "w1": []}, {"w0", "w1"})) == []


def test_a_chief_that_has_started_and_cannot_be_reached_is_shown_within_10_s() -> None:
    chief, clock = started()
    clock.now += 5
    chief.opens_study()
    clock.now += FIRST_S - 5
    assert list(chief.shown({"w0": [LINE]}, ())) == [("w0", LINE)]


def test_an_outage_that_the_start_did_not_end_is_shown_soon_after_the_start() -> None:
    chief, clock = started()
    clock.now += FIRST_S
    chief.works(5.0)
    assert list(chief.shown({"w0": [LINE], "w1": [LINE]}, ())) == []
    chief.opens_study()
    clock.now += JOINING_S
    assert list(chief.shown({"w0": [], "w1": []}, {"w1"})) == [("w0", LINE)]
    assert list(chief.shown({"w0": []}, ())) == []


def test_a_chief_that_never_opens_the_study_is_shown() -> None:
    chief, clock = started()
    clock.now += FIRST_S
    chief.works(5.0)
    assert list(chief.shown({"w0": [LINE]}, ())) == []
    clock.now += STARTING_S - FIRST_S
    chief.works(50.0)
    assert list(chief.shown({"w0": [LATER]}, ())) == [("w0", LINE), ("w0", LATER)]


def test_a_chief_that_is_started_again_is_starting_and_a_later_outage_is_shown_at_once() -> None:
    chief, clock = started()
    chief.opens_study()
    clock.now += 60
    assert list(chief.shown({"w0": [LINE]}, {"w0"})) == [("w0", LINE)]
    chief.starts()
    clock.now += FIRST_S
    chief.works(5.0)
    assert list(chief.shown({"w0": [LINE]}, ())) == []


def test_a_chief_that_is_suspended_while_it_starts_is_shown_within_10_s() -> None:
    chief, clock = started()
    chief.works(5.0)
    clock.now += FIRST_S
    assert PAUSE_S < FIRST_S
    chief.works(5.0)
    assert list(chief.shown({"w0": [LINE]}, ())) == [("w0", LINE)]
