"""What a bad network does to a bucket on real servers of every kind: lost answers, cuts, refusals that pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bucket.far_buckets import FarServer, bucket_of, lead, proxy_of
from tests.support.fault_proxy import Fault, FaultProxy, Faults
from tuner.bucket import Bucket
from tuner.errors import ObjectExistsError


def test_a_create_whose_answer_was_lost_succeeds(proxy: FaultProxy, far_bucket: Bucket) -> None:
    proxy.script.append(Fault.CUT_AFTER)
    far_bucket.create("journal/1", b"from writer 6f1b")
    assert far_bucket.read("journal/1") == b"from writer 6f1b"
    assert proxy.met[Fault.CUT_AFTER] == 1


def test_a_create_whose_answer_was_lost_does_not_take_anothers_object_for_its_own(
    proxy: FaultProxy, far_bucket: Bucket
) -> None:
    far_bucket.create("journal/1", b"from writer 77aa")
    proxy.script.append(Fault.CUT_AFTER)
    with pytest.raises(ObjectExistsError, match="journal/1"):
        far_bucket.create("journal/1", b"from writer 6f1b")
    assert far_bucket.read("journal/1") == b"from writer 77aa"


PASSING = [fault for fault in Fault if fault not in (Fault.NONE, Fault.DAMAGED, Fault.FULL)]
"""Faults after which the same request succeeds."""


@pytest.mark.parametrize("fault", PASSING)
def test_every_fault_is_survived_by_everything_that_writes(
    proxy: FaultProxy, far_bucket: Bucket, make_file: Callable[[str, int], Path], tmp_path: Path, fault: Fault
) -> None:
    source = make_file("pieces", 9 << 20)
    for step in (
        lambda: far_bucket.write("a", b"1"),
        lambda: far_bucket.create("b", b"2"),
        lambda: far_bucket.upload("c", source),
        lambda: far_bucket.delete("a"),
    ):
        proxy.script.append(fault)
        step()
        assert not proxy.script
    assert proxy.met[fault] == 4
    assert list(far_bucket.list()) == ["b", "c"]
    far_bucket.download("c", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("fault", PASSING)
def test_every_fault_is_survived_by_everything_that_reads(
    proxy: FaultProxy, far_bucket: Bucket, tmp_path: Path, fault: Fault
) -> None:
    proxy.scripted_methods = frozenset({"GET", "HEAD"})
    far_bucket.write("a/b", b"1")
    for step in (
        lambda: far_bucket.read("a/b"),
        lambda: far_bucket.exists("a/b"),
        lambda: far_bucket.download("a/b", tmp_path / "copy"),
        lambda: list(far_bucket.list()),
        lambda: list(far_bucket.folders("")),
    ):
        proxy.script.append(fault)
        assert step() not in ([], False)
        assert not proxy.script


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_answer_lost_at_any_piece_of_an_upload_leaves_it_whole(
    proxy: FaultProxy, far_bucket: Bucket, make_file: Callable[[str, int], Path], tmp_path: Path, number: int
) -> None:
    source = make_file("pieces", 17 << 20)
    proxy.script.extend([Fault.NONE] * number + [Fault.CUT_AFTER])
    far_bucket.upload("c", source)
    assert not proxy.script
    far_bucket.download("c", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


def test_a_journal_written_through_a_bad_network_has_every_record_once(
    server: FarServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the requests gets a 503, others a 429, a cut connection, or an answer that is lost."""
    faults = Faults(seed=7, unavailable=0.1, too_many=0.03, cut_before=0.03, cut_after=0.05)
    with proxy_of(server, faults) as bad:
        lead(monkeypatch, server, bad.url)
        bucket = bucket_of(server, server.new_bucket())
        for number in range(25):
            bucket.create(f"journal/{number:03d}", f"writer 6f1b, record {number}".encode())
        assert bad.met[Fault.CUT_AFTER] > 0
        assert bad.met[Fault.UNAVAILABLE] > 0
        names = list(bucket.list("journal/"))
        assert names == [f"journal/{number:03d}" for number in range(25)]
        for number, record in enumerate(names):
            assert bucket.read(record) == f"writer 6f1b, record {number}".encode()
