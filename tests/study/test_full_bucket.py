"""A chief whose bucket is full waits for space, and ends with the reason if none comes. The disk is a real one."""

import asyncio
from pathlib import Path

import pytest

from tests.study.test_journal import STUDY, created, opened
from tests.support.disks import fill, small_disk
from tuner.bucket.local import LocalBucket
from tuner.chief.journal_writer import JournalWriter
from tuner.errors import BucketError
from tuner.study.journal import read_study


def test_a_full_bucket_delays_a_commit_until_there_is_room(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        journal = JournalWriter(LocalBucket(disk), STUDY, "w1", 1, patience_s=60)
        journal.write([opened()])
        fill(disk)
        running = asyncio.create_task(journal.run())
        waiting = journal.commit([created(0)])
        while not journal.problem():
            await asyncio.sleep(0.05)
        assert "no space is left there" in journal.problem()
        assert not waiting.done()
        (disk / "ballast").unlink()
        await asyncio.wait_for(waiting, 20)
        assert journal.problem() == ""
        journal.close()
        await running

    with small_disk(tmp_path / "disk", 1024) as disk:
        asyncio.run(asyncio.wait_for(main(disk), 60))
        assert list(read_study(LocalBucket(disk), STUDY).trials) == ["00000"]


def test_a_bucket_that_stays_full_ends_the_chief_with_the_reason(tmp_path: Path) -> None:
    async def main(disk: Path) -> None:
        journal = JournalWriter(LocalBucket(disk), STUDY, "w1", 1, patience_s=1)
        fill(disk)
        waiting = journal.commit([opened()])
        for task in (asyncio.create_task(journal.run()), waiting):
            with pytest.raises(BucketError, match="no space is left there"):
                await task

    with small_disk(tmp_path / "disk", 1024) as disk:
        asyncio.run(asyncio.wait_for(main(disk), 60))
