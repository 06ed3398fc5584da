"""Snapshots: recovery begins at the newest that is whole, and each holds what its segment ends with."""

import asyncio
import hashlib
import threading
import time
from pathlib import Path

import pytest

from tests.study.test_journal import STUDY, created, opened, segments
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.journal_writer import JournalWriter
from tuner.errors import JournalError
from tuner.study import snapshots
from tuner.study.journal import decode, read_records, read_study
from tuner.study.records import AttemptEnded, Ended, Leased, Outcome, Record, Reported, TrialState
from tuner.study.snapshots import Snapshotter
from tuner.study.state import StudyState


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def trained(number: int, attempt: int = 1) -> list[Record]:
    """Return what makes a trial COMPLETED: its lease, epochs that reach a rung, its end."""
    of = {"at": 0.5, "trial": names.TrialId(f"{number:05d}"), "attempt": attempt}
    report = Reported(**of, epoch=0, metrics={"val_accuracy": 0.5, "loss": float("inf")}, checkpoint="c", sha256="s")
    return [
        Leased(**of, worker="w", incarnation=f"i{attempt}"),
        report,
        report.model_copy(update={"epoch": 1}),
        Ended(**of, state=TrialState.COMPLETED, score=0.5, best_epoch=0),
    ]


def written_with_snapshots(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch, trials: int = 40) -> StudyState:
    """Write a journal of one trial a segment, with a snapshot every few, and return the state it adds up to."""
    monkeypatch.setattr(snapshots, "RECORDS", 5)
    state = StudyState()

    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1, Snapshotter(bucket, state))
        running = asyncio.create_task(journal.run())
        records: list[Record] = [opened(), *map(created, range(trials))]
        for record in records:
            state.apply(record)
            await journal.commit([record])
        journal.close()
        await running

    asyncio.run(main())
    return state


def kept_snapshots(bucket: LocalBucket) -> list[str]:
    return list(bucket.list(names.snapshots_prefix(STUDY)))


def test_recovery_reads_the_newest_snapshot_and_only_the_segments_after_it(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = written_with_snapshots(bucket, monkeypatch)
    kept = kept_snapshots(bucket)
    assert len(kept) == snapshots.KEPT
    newest = names.parse_snapshot(kept[-1])
    assert newest is not None
    assert newest > 20
    for number in range(1, newest + 1):
        bucket.delete(names.journal_segment(STUDY, number))
    assert read_study(bucket, STUDY) == state


@pytest.mark.parametrize("damage", [b"", b"garbage", b"truncate", b"flip", b"version"])
def test_a_damaged_snapshot_is_passed_over(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    state = written_with_snapshots(bucket, monkeypatch)
    for name in kept_snapshots(bucket):
        data = bucket.read(name)
        damaged = {
            b"truncate": data[:-10],
            b"flip": data[:-10] + bytes([data[-10] ^ 1]) + data[-9:],
            b"version": data.replace(b'"format":"1.4"', b'"version":2', 1),
        }
        bucket.write(name, damaged.get(damage, damage))
        assert read_study(bucket, STUDY) == state
    assert len(list(read_records(bucket, STUDY))) == 41


def test_a_snapshot_without_a_format_has_1_0(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    state = written_with_snapshots(bucket, monkeypatch)
    monkeypatch.setattr(snapshots, "FORMAT", "1.0")  # a newer minor version reads the journal instead
    for name in kept_snapshots(bucket):
        old = bucket.read(name).replace(b'"format":"1.4"', b'"version":3', 1).replace(b',"program":"2.0"', b"", 1)
        bucket.write(name, old)
    bucket.delete(names.journal_segment(STUDY, 1))
    assert read_study(bucket, STUDY) == state


def test_a_snapshot_of_a_newer_minor_version_is_read_without_what_is_unknown(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = written_with_snapshots(bucket, monkeypatch)
    for name in kept_snapshots(bucket):
        header, body = bucket.read(name).split(b"\n", 1)
        newer = body.replace(b'{"term":', b'{"unheard":{"of":1},"term":', 1)
        newer = newer.replace(b'"search":{', b'"search":{"unheard":1,').replace(b'"trial_id":', b'"new":1,"trial_id":')
        checksum = hashlib.sha256(newer).hexdigest().encode()
        header = header.replace(hashlib.sha256(body).hexdigest().encode(), checksum)
        header = header.replace(b'"format":"1.4"', b'"format":"1.9","unheard":1')
        header = header.replace(b'"program":"2.0"', b'"program":"2.7"')
        bucket.write(name, header + b"\n" + newer)
    bucket.delete(names.journal_segment(STUDY, 1))
    assert read_study(bucket, STUDY) == state


def test_a_snapshot_of_a_newer_major_version_is_an_error(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    written_with_snapshots(bucket, monkeypatch)
    name = kept_snapshots(bucket)[-1]
    bucket.write(name, bucket.read(name).replace(b'"format":"1.4"', b'"format":"3.0","version":"?"', 1))
    with pytest.raises(JournalError, match=rf"{name}.*format 3\.0, and this program reads 2\.0"):
        read_study(bucket, STUDY)


def test_a_snapshot_of_an_older_minor_version_is_passed_over_since_its_program_may_have_skipped_records(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = written_with_snapshots(bucket, monkeypatch)
    monkeypatch.setattr(snapshots, "FORMAT", "2.1")
    assert read_study(bucket, STUDY) == state
    bucket.delete(names.journal_segment(STUDY, 1))
    with pytest.raises(JournalError, match=r"0000000001\.jsonl is missing"):
        read_study(bucket, STUDY)


def test_a_snapshot_holds_what_its_segment_ends_with_though_more_came_meanwhile(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "RECORDS", 3)
    state = StudyState()

    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1, Snapshotter(bucket, state))
        running = asyncio.create_task(journal.run())
        waiting = []
        records: list[Record] = [opened(), *map(created, range(500))]
        for record in records:
            state.apply(record)
            waiting.append(journal.commit([record]))
            if len(waiting) % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        journal.close()
        await running

    asyncio.run(main())
    for name in kept_snapshots(bucket):
        snapshot = snapshots.decode(name, bucket.read(name))
        assert snapshot is not None
        replayed = StudyState()
        for number in range(1, snapshot.segment + 1):
            for record in decode(
                names.journal_segment(STUDY, number), bucket.read(names.journal_segment(STUDY, number))
            ):
                replayed.apply(record)
        assert replayed == snapshot.state


def test_a_snapshot_is_encoded_beside_the_loop_and_shares_what_has_ended(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "RECORDS", 2)
    encoded: list[tuple[bool, StudyState]] = []
    encode_state = snapshots.encode

    def watched(segment: int, state: StudyState) -> bytes:
        encoded.append((threading.current_thread() is threading.main_thread(), state))
        return encode_state(segment, state)

    monkeypatch.setattr(snapshots, "encode", watched)
    state = StudyState()

    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1, Snapshotter(bucket, state))
        running = asyncio.create_task(journal.run())
        records = [opened(), created(0), created(1), *trained(0)]
        for record in records:
            state.apply(record)
        await journal.commit(records)
        journal.close()
        await running

    asyncio.run(main())
    [(in_the_loop, taken)] = encoded
    assert not in_the_loop
    shared = [trial for trial in state.trials if taken.trials[trial] is state.trials[trial]]
    assert shared == state.ended == ["00000"]


def test_a_snapshot_stays_as_it_was_taken_while_the_study_goes_on() -> None:
    state = StudyState()
    then = [opened(), created(0), created(1), created(2), *trained(0), *trained(1)[:-1]]
    for record in then:
        state.apply(record)
    taken = snapshots.frozen_copy(state)
    lost = AttemptEnded(at=1, trial=names.TrialId("00001"), attempt=1, outcome=Outcome.LOST, reason="silent")
    for record in [lost, *trained(1, attempt=2), *trained(2), created(3)]:
        state.apply(record)
    snapshot = snapshots.decode(names.snapshot(STUDY, 7), snapshots.encode(7, taken))
    replayed = StudyState()
    for record in then:
        replayed.apply(record)
    assert snapshot is not None
    assert snapshot.state == replayed
    assert list(snapshot.state.trials) == list(replayed.trials)


def test_a_journal_that_closes_with_nothing_to_write_makes_no_snapshot_of_a_segment_that_is_not_there(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next chief writes a segment of that number, which such a snapshot would hide."""
    monkeypatch.setattr(snapshots, "RECORDS", 2)
    state = StudyState()

    class Slow(Snapshotter):
        def write(self, segment: int, state: StudyState) -> None:
            time.sleep(0.3)  # so that the next is due before this one is written
            super().write(segment, state)

    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1, Slow(bucket, state))
        running = asyncio.create_task(journal.run())
        groups: list[list[Record]] = [[opened(), created(0)], [created(1), created(2)]]
        for records in groups:
            for record in records:
                state.apply(record)
            await journal.commit(records)
        await asyncio.sleep(0.5)
        journal.close()
        await running

    asyncio.run(main())
    assert [names.parse_snapshot(name) for name in kept_snapshots(bucket)] == [1]
    assert len(segments(bucket)) == 2


def test_a_bucket_that_refuses_snapshots_costs_nothing_else(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "snapshot", lambda study, number: f"studies/{study}/journal")  # a folder is there
    state = written_with_snapshots(bucket, monkeypatch)
    assert kept_snapshots(bucket) == []
    assert read_study(bucket, STUDY) == state
