"""`clean`: data sets and caches that no study uses."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.housekeeping.searches import Trained, write_search
from tests.support.command_line import Finished, run_in_process
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.data.prepare import Prepared
from tuner.errors import ExitCode
from tuner.housekeeping.unused import RECENT_S

USED, NEXT, UNUSED, UNFINISHED = (character * 64 for character in "abcd")


@pytest.fixture
def bucket(tmp_path: Path) -> LocalBucket:
    """A bucket with a study, a data set of it, one of a study that has not begun, an unused and an incomplete one."""
    bucket = LocalBucket(tmp_path / "bucket")
    write_search(bucket, "night", [Trained(1, 0.5)], data=USED)
    for digest in (USED, NEXT, UNUSED):
        bucket.write(names.manifest(digest), b"{}")
    for digest in (USED, NEXT, UNUSED, UNFINISHED):
        bucket.write(names.shard(digest, "train", 0), b"x" * 100)
    bucket.write(names.prepared("next"), Prepared(source=None, digest=NEXT).model_dump_json().encode())
    return bucket


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    for folder in (USED, UNUSED, "logs"):
        (cache / folder).mkdir(parents=True)
        (cache / folder / "train.npy").write_bytes(b"y" * 1000)
        os.utime(cache / folder, (0, time.time() - RECENT_S - 60))
    return cache


def clean(bucket: LocalBucket, cache: Path, *options: str) -> Finished:
    return run_in_process("clean", "--bucket", bucket.url, *options, environment={names.ENV_CACHE: str(cache)})


def test_by_default_it_only_lists(bucket: LocalBucket, cache: Path) -> None:
    before = set(bucket.list())
    done = clean(bucket, cache)
    assert done.out.splitlines() == [
        f"data set {UNUSED} (102 bytes)",
        f"cache {cache / UNUSED} (1.0 kB)",
        f"data set {UNFINISHED} is incomplete and stays: it may be being packed",
        "1.1 kB in 2 folders can be deleted: add --yes.",
    ]
    assert set(bucket.list()) == before
    assert (cache / UNUSED / "train.npy").exists()


def test_what_is_unused_is_deleted_and_nothing_else(bucket: LocalBucket, cache: Path) -> None:
    kept = {name for name in bucket.list() if UNUSED not in name}
    done = clean(bucket, cache, "--yes", "--json")
    assert json.loads(done.out) == {
        "deleted": True,
        "size_bytes": 1102,
        "data_sets": [{"digest": UNUSED, "size_bytes": 102}],
        "caches": [{"path": str(cache / UNUSED), "size_bytes": 1000}],
        "incomplete": [UNFINISHED],
    }
    assert set(bucket.list()) == kept
    assert sorted(path.name for path in cache.iterdir()) == sorted([USED, "logs"])
    assert clean(bucket, cache, "--yes").out.splitlines()[-1] == "Nothing is unused."


def test_a_cache_that_was_changed_recently_stays_because_another_bucket_may_use_it(
    bucket: LocalBucket, cache: Path
) -> None:
    os.utime(cache / UNUSED)
    assert f"cache {cache / UNUSED}" not in clean(bucket, cache, "--yes").out
    assert (cache / UNUSED / "train.npy").exists()


def test_where_there_is_no_cache_none_is_created(bucket: LocalBucket, tmp_path: Path) -> None:
    done = clean(bucket, tmp_path / "none")
    assert done.code == ExitCode.DONE
    assert "cache" not in done.out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("damaged", ["journal", "note"])
def test_nothing_is_deleted_if_a_studys_data_set_is_unknown(bucket: LocalBucket, cache: Path, damaged: str) -> None:
    bucket.write(names.journal_segment("night", 1) if damaged == "journal" else names.prepared("next"), b"damaged")
    before = set(bucket.list())
    done = clean(bucket, cache, "--yes")
    assert (done.code, done.out) == (ExitCode.USAGE, "")
    assert "so its data set is unknown" in done.err or "so the data set that it names is unknown" in done.err
    assert set(bucket.list()) == before
