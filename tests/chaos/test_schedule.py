"""A seed makes one schedule, in which every kind of fault has its share."""

from collections import Counter

from tests.chaos.schedule import SHARES, Kind, make_schedule


def test_the_same_seed_makes_the_same_faults_and_another_others() -> None:
    assert make_schedule(7, 200) == make_schedule(7, 200)
    assert make_schedule(7, 200) != make_schedule(8, 200)
    assert make_schedule(7, 200)[:50] == make_schedule(7, 50)


def test_faults_have_every_kind_by_its_share() -> None:
    counts = Counter(fault.kind for fault in make_schedule(1, 5 * SHARES))
    assert counts == {kind: 5 * kind.share for kind in Kind}


def test_a_short_run_has_as_many_kinds_as_faults() -> None:
    assert len({fault.kind for fault in make_schedule(3, 12)}) == 12
