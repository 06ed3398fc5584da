"""What `data prepare` leaves for a chief, and how the chief waits for it."""

import threading
from pathlib import Path

import pytest

from tests.data.images import Files, data_set, write_folder
from tests.support.command_line import run_in_process
from tuner import names
from tuner.bucket import Bucket
from tuner.config.loading import parse
from tuner.config.settings import Study
from tuner.data.manifest import find_data_sets
from tuner.data.pack import pack
from tuner.data.prepare import await_prepared, prepare
from tuner.errors import DataError, EnvironmentFailure
from tuner.study.journal import encode
from tuner.study.records import Opened


def study_of(source: Path, name: str = "night") -> Study:
    return parse({"name": name, "data": {"source": str(source)}}, "the test")


def test_a_chief_that_waits_gets_the_data_set_that_is_prepared_meanwhile(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    study = study_of(write_folder(tmp_path / "source", files))
    packing = threading.Timer(0.2, prepare, [study, bucket])
    packing.start()
    digest = await_prepared(study, bucket, 60)
    packing.join()
    assert find_data_sets(bucket) == [digest]


def test_each_study_of_a_bucket_is_told_its_own_data_set(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    first = study_of(write_folder(tmp_path / "first", files), "first")
    second = study_of(write_folder(tmp_path / "second", data_set(train=2)), "second")
    digests = {prepare(study, bucket).manifest.digest for study in (first, second)}
    assert len(digests) == 2
    assert {await_prepared(study, bucket, 0) for study in (first, second)} == digests
    assert await_prepared(first, bucket, 0) == pack(str(tmp_path / "first"), bucket).digest


def test_a_note_for_another_source_is_not_believed(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    prepare(study_of(write_folder(tmp_path / "before", files)), bucket)
    with pytest.raises(EnvironmentFailure, match=r"no data for study 'night' after 0 s.*data prepare"):
        await_prepared(study_of(tmp_path / "now"), bucket, 0)


def test_the_note_is_no_study_of_the_bucket(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    prepare(study_of(write_folder(tmp_path / "source", files)), bucket)
    assert list(bucket.folders(names.STUDIES_PREFIX)) == []


def test_an_upgrade_to_a_source_that_cannot_be_packed_does_not_end_a_search(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    begun = prepare(study_of(write_folder(tmp_path / "source", files)), bucket).manifest
    upgraded = study_of(write_folder(tmp_path / "wrong", {"1.jpg": files["train/REAL/0.png"]}))
    choice = prepare(upgraded, bucket, recorded=begun.digest)
    assert choice.manifest.digest == await_prepared(upgraded, bucket, 0) == begun.digest
    assert "without folders of classes" in choice.reason
    assert "the existing study night keeps its data set" in choice.reason
    with pytest.raises(DataError, match="without folders of classes"):
        prepare(upgraded, bucket)


def test_a_study_that_has_begun_keeps_its_data_set_if_its_source_is_packed_differently_now(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    """As if a newer version packs the same source differently: the note must not name another data set."""
    study = study_of(write_folder(tmp_path / "source", files))
    first = prepare(study, bucket).manifest
    write_folder(tmp_path / "source", data_set(train=9))
    choice = prepare(study, bucket, recorded=first.digest)
    assert choice.manifest.digest == await_prepared(study, bucket, 0) == first.digest
    assert f"the existing study night keeps its data set {first.digest[:12]}; choose another name" in choice.reason
    assert find_data_sets(bucket) == [first.digest]
    assert prepare(study, bucket).manifest.digest != first.digest


def test_the_job_of_a_study_that_has_begun_prints_that_the_data_set_is_kept(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    study = study_of(write_folder(tmp_path / "source", files))
    first = prepare(study, bucket).manifest
    opened = Opened(at=0, term=1, writer="w", study=study, data=first.digest, direction="max")
    bucket.create(names.journal_segment("night", 1), encode(1, "w", [opened]))
    write_folder(tmp_path / "source", data_set(train=9))
    (tmp_path / "study.yaml").write_text(f"name: night\ndata: {{source: {tmp_path / 'source'}}}\n")
    ended = run_in_process("data", "prepare", "--bucket", tmp_path / "bucket", "--study", tmp_path / "study.yaml")
    assert ended.code == 0
    assert "choose another name for a new one" in " ".join(ended.out.split())
    assert first.digest in ended.out
