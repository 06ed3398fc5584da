"""The journal: what is answered is durable, one order of records, the newest chief wins, damage is named."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.journal_writer import JournalWriter
from tuner.config.loading import load
from tuner.errors import BucketError, EmptiedBucketError, FencedError, JournalError, PreemptedError, UsageError
from tuner.study.journal import (
    JournalReader,
    decode,
    encode,
    find_study,
    read_records,
    read_study,
)
from tuner.study.records import Created, Finished, Leased, Opened, Record, Reported

STUDY = "cifake"


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    return LocalBucket(tmp_path / "bucket")


def opened(term: int = 1, writer: str = "w1") -> Opened:
    return Opened(at=0, term=term, writer=writer, study=load(), data="d", direction="max")


def created(number: int) -> Created:
    return Created(at=0, trial=names.TrialId(f"{number:05d}"), hyperparameters={"units": number}, algorithm={})


def segments(bucket: LocalBucket) -> list[str]:
    return list(bucket.list(names.journal_prefix(STUDY)))


def test_what_is_committed_is_in_the_bucket_when_commit_returns(bucket: LocalBucket) -> None:
    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1)
        running = asyncio.create_task(journal.run())
        await journal.commit([opened()])
        await journal.commit([created(0)])
        assert list(read_study(bucket, STUDY).trials) == ["00000"]
        journal.close()
        await running

    asyncio.run(main())


def test_records_that_arrive_during_a_flush_share_the_next_segment(bucket: LocalBucket) -> None:
    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1)
        running = asyncio.create_task(journal.run())
        await journal.commit([opened()])
        await asyncio.gather(*(journal.commit([created(number)]) for number in range(200)))
        journal.close()
        await running

    asyncio.run(main())
    assert len(read_study(bucket, STUDY).trials) == 200
    assert len(segments(bucket)) <= 3


def test_a_segment_waits_for_more_records_only_where_several_shared_the_last_one(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1)
        running = asyncio.create_task(journal.run())
        monkeypatch.setattr("tuner.chief.journal_writer.GATHER_S", 600)
        await asyncio.wait_for(journal.commit([opened()]), 60)
        await asyncio.wait_for(journal.commit([created(0)]), 60)
        await asyncio.wait_for(asyncio.gather(*(journal.commit([created(number)]) for number in (1, 2))), 60)
        monkeypatch.setattr("tuner.chief.journal_writer.GATHER_S", 0.5)
        early = journal.commit([created(3)])
        await asyncio.sleep(0.1)
        await asyncio.gather(early, journal.commit([created(4)]))
        journal.close()
        await running

    asyncio.run(main())
    assert len(segments(bucket)) == 4


def test_records_that_nobody_waits_for_are_written_when_the_journal_closes(bucket: LocalBucket) -> None:
    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1)
        running = asyncio.create_task(journal.run())
        journal.append([opened(), created(0)])
        journal.close()
        await running

    asyncio.run(main())
    assert list(read_study(bucket, STUDY).trials) == ["00000"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_that_is_no_number_can_be_read_again(value: float) -> None:
    report = Reported(at=0, trial=names.TrialId("t"), attempt=1, epoch=0, metrics={"val_loss": value})
    (decoded,) = decode(names.journal_segment(STUDY, 1), encode(1, "w1", [report]))
    assert repr(decoded) == repr(report)


def test_an_older_chief_is_fenced_and_everyone_who_waits_hears_of_it(bucket: LocalBucket) -> None:
    async def main() -> None:
        old = JournalWriter(bucket, STUDY, "old", 1)
        old.write([opened(1, "old")])
        new = JournalWriter(bucket, STUDY, "new", 2)
        new.write([opened(2, "new")])
        running = asyncio.create_task(old.run())
        waiting = [old.commit([created(number)]) for number in range(3)]
        for task in [*waiting, running]:
            with pytest.raises(FencedError, match="another chief has taken over"):
                await task
        with pytest.raises(FencedError):
            await old.commit([created(4)])
        new.write([created(9)])

    asyncio.run(main())
    assert list(read_study(bucket, STUDY).trials) == ["00009"]


def test_an_older_chief_that_has_nothing_to_write_finds_out_too(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.chief.journal_writer.WATCH_S", 0.05)

    async def main() -> None:
        old = JournalWriter(bucket, STUDY, "old", 1)
        old.write([opened(1, "old")])
        watching = asyncio.create_task(old.watch())
        done, _ = await asyncio.wait({watching}, timeout=0.3)
        assert not done
        JournalWriter(bucket, STUDY, "new", 2).write([opened(2, "new")])
        with pytest.raises(FencedError, match="another chief has taken over"):
            await asyncio.wait_for(watching, 20)

    asyncio.run(main())


def test_a_chief_whose_bucket_was_emptied_ends(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it has written to the empty bucket in the meantime."""
    monkeypatch.setattr("tuner.chief.journal_writer.WATCH_S", 0.05)

    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1)
        journal.write([opened()])
        watching = asyncio.create_task(journal.watch())
        done, _ = await asyncio.wait({watching}, timeout=0.3)
        assert not done
        for name in segments(bucket):
            bucket.delete(name)
        journal.write([created(0)])
        with pytest.raises(EmptiedBucketError, match="was emptied or replaced by an empty bucket"):
            await asyncio.wait_for(watching, 20)

    asyncio.run(main())


def test_a_chief_whose_last_segment_is_gone_ends(bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.chief.journal_writer.WATCH_S", 0.05)

    async def main() -> None:
        journal = JournalWriter(bucket, STUDY, "w1", 1)
        journal.write([opened()])
        journal.write([created(0)])
        watching = asyncio.create_task(journal.watch())
        done, _ = await asyncio.wait({watching}, timeout=0.3)
        assert not done
        bucket.delete(names.journal_segment(STUDY, 2))
        with pytest.raises(EmptiedBucketError, match=rf"lost the journal segment {names.journal_segment(STUDY, 2)}"):
            await asyncio.wait_for(watching, 20)

    asyncio.run(main())


def test_a_bucket_that_fails_fails_the_commit(tmp_path: Path) -> None:
    (tmp_path / "bucket").write_text("a file, no folder")

    async def main() -> None:
        journal = JournalWriter(LocalBucket(tmp_path / "bucket"), STUDY, "w1", 1)
        running = asyncio.create_task(journal.run())
        with pytest.raises(BucketError):
            await journal.commit([opened()])
        with pytest.raises(BucketError):
            await running

    asyncio.run(main())


def test_a_reader_follows_the_journal_while_it_is_written(bucket: LocalBucket) -> None:
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    reader = JournalReader(bucket, STUDY)
    assert reader.poll() == []
    journal.write([opened()])
    journal.write([created(0)])
    assert [record.kind for record in reader.poll()] == ["opened", "created"]
    assert reader.poll() == []
    journal.write([created(1), created(2)])
    assert len(reader.poll()) == 2
    assert list(reader.state.trials) == ["00000", "00001", "00002"]


def test_a_reader_that_is_asked_to_stop_does_not_wait_for_a_bucket_that_hangs(tmp_path: Path) -> None:
    hangs = threading.Event()

    class Hanging(LocalBucket):
        def read(self, name: str) -> bytes:
            if name == names.journal_segment(STUDY, 2):
                hangs.wait(30)
            return super().read(name)

    def stop(*_: object) -> None:
        raise PreemptedError

    bucket = Hanging(tmp_path / "bucket")
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    for records in ([opened()], [created(0)]):
        journal.write(records)
    previous_handler, began = signal.signal(signal.SIGALRM, stop), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(PreemptedError):
            JournalReader(bucket, STUDY).poll()
        assert time.monotonic() - began < 10
    finally:
        signal.signal(signal.SIGALRM, previous_handler)
        hangs.set()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: b"", "no valid header"),
        (lambda data: b"garbage\n" + data, "no valid header"),
        (lambda data: data[:-10], "damaged"),
        (lambda data: data.replace(b'"units":0', b'"units":1'), "damaged"),
        (lambda data: data.replace(b'"format":"1.4"', b'"format":"9.0"', 1), "format 9.0, and this program reads 2.0"),
        (lambda data: data.replace(b'"number":2', b'"number":3', 1), "damaged"),
    ],
)
def test_a_damaged_segment_is_an_error_that_names_the_object(bucket: LocalBucket, damage, says) -> None:
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    journal.write([opened()])
    journal.write([created(0)])
    name = names.journal_segment(STUDY, 2)
    bucket.write(name, damage(bucket.read(name)))
    with pytest.raises(JournalError, match=rf"{name}.*{says}"):
        read_study(bucket, STUDY)


def test_a_record_that_contradicts_the_journal_is_an_error_that_names_the_object(bucket: LocalBucket) -> None:
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    journal.write([opened()])
    journal.write([Leased(at=0, trial=names.TrialId("00007"), attempt=1, worker="w", incarnation="i")])
    with pytest.raises(JournalError, match=r"0000000002.*contradicts"):
        read_study(bucket, STUDY)


def write_edited(bucket: LocalBucket, number: int, records: list[Record], old: bytes, new: bytes) -> None:
    """Write a segment in whose records some text was replaced, with the checksum of what it has then."""
    header, body = encode(number, "w1", records).split(b"\n", 1)
    edited = body.replace(old, new)
    assert edited != body
    header = header.replace(hashlib.sha256(body).hexdigest().encode(), hashlib.sha256(edited).hexdigest().encode())
    bucket.create(names.journal_segment(STUDY, number), header + b"\n" + edited)


def test_a_record_of_an_unknown_kind_is_skipped_and_none_of_the_others(
    bucket: LocalBucket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "tuner.study.journal")
    JournalWriter(bucket, STUDY, "w1", 1).write([opened()])
    finished = Finished(at=0, reason="unheard")
    write_edited(bucket, 2, [created(0), finished, created(1)], b'"kind":"finished"', b'"kind":"unheard"')
    assert list(read_study(bucket, STUDY).trials) == ["00000", "00001"]
    assert read_study(bucket, STUDY).finished is None
    assert [record.kind for record in read_records(bucket, STUDY)] == ["opened", "created", "created"]
    assert f"{names.journal_segment(STUDY, 2)}: a record of the unknown kind 'unheard'" in caplog.text


@pytest.mark.parametrize("kind", [b"created", b"unheard"])
def test_a_record_of_a_newer_major_version_is_refused_whatever_its_kind(bucket: LocalBucket, kind: bytes) -> None:
    JournalWriter(bucket, STUDY, "w1", 1).write([opened()])
    old, new = (
        b'{"format":"1.4","at":0.0,"served_s":null,"kind":"created"',
        b'{"format":"3.3","at":"?","kind":"%s"' % kind,
    )
    write_edited(bucket, 2, [created(0)], old, new)
    with pytest.raises(JournalError, match=r"0000000002\.jsonl.*format 3\.3, and this program reads 2\.0"):
        read_study(bucket, STUDY)


def test_a_known_kind_of_the_same_major_version_with_a_missing_field_is_an_error(bucket: LocalBucket) -> None:
    JournalWriter(bucket, STUDY, "w1", 1).write([opened()])
    write_edited(bucket, 2, [created(0)], b'"algorithm"', b'"unheard"')
    with pytest.raises(JournalError, match="cannot be understood"):
        read_study(bucket, STUDY)


def test_unknown_settings_of_a_recorded_study_are_ignored(bucket: LocalBucket) -> None:
    old, new = b'"search":{', b'"unheard":{"of":[1]},"search":{"unheard":1,'
    write_edited(bucket, 1, [opened()], old, new)
    assert read_study(bucket, STUDY).study == load()


def test_every_kind_of_record_survives_the_journal(bucket: LocalBucket) -> None:
    from tests.search.test_oracle import add, at, finish, oracle, take
    from tuner.search.leases import Worker
    from tuner.study.records import Outcome

    chief = oracle("search.max_consecutive_failures=1", "retries.failure=1")
    journal = JournalWriter(bucket, STUDY, "w1", 1)
    records: list[Record] = [Opened(at=0, term=1, writer="w1", study=chief.state.settings, data="d", direction="max")]
    apply = chief.state.apply

    def record(new_record: Record) -> None:
        apply(new_record)
        records.append(new_record)

    chief.state.apply = record  # type: ignore[method-assign,assignment]
    add(chief, 0)
    add(chief, 1)
    finish(chief, take(chief, Worker("a", "1")), float("0.1"))
    for _ in range(2):
        chief.give_back(take(chief, Worker("b", "1")), Outcome.FAILED, "boom\n trace", at(1))
    chief.finish(at(2))
    journal.write(records)
    kinds = {entry.kind for entry in records}
    assert kinds == {"opened", "created", "leased", "reported", "attempt_ended", "ended", "finished"}
    reader = JournalReader(bucket, STUDY)
    assert reader.poll() == records
    assert reader.state.trials == chief.state.trials


def test_the_only_study_need_not_be_named(bucket: LocalBucket) -> None:
    with pytest.raises(UsageError, match="no study yet"):
        find_study(bucket, None)
    JournalWriter(bucket, "one", "w", 1).write([opened()])
    assert find_study(bucket, None) == "one"
    JournalWriter(bucket, "two", "w", 1).write([opened()])
    with pytest.raises(UsageError, match="one, two"):
        find_study(bucket, None)
    with pytest.raises(UsageError, match="no study 'three'"):
        read_study(bucket, "three")


def test_to_find_the_only_study_its_objects_are_not_listed(
    bucket: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    JournalWriter(bucket, "one", "w", 1).write([opened()])
    monkeypatch.setattr(bucket, "list", None)
    assert find_study(bucket, None) == "one"


@pytest.mark.parametrize("module", ["tuner.study.journal", "tuner.chief.journal_writer"])
def test_neither_end_of_the_journal_loads_grpc_or_prometheus_client(module: str) -> None:
    program = f"import sys, {module}; print({{'grpc', 'prometheus_client'}} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output == "set()\n"
