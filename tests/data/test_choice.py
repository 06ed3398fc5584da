"""Which data set a study uses: a digest, its source, its own, or the only one of the bucket."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.images import Files, data_set, encode, pixels, write_folder
from tests.support.command_line import run_in_process
from tuner import names
from tuner.bucket import Bucket
from tuner.config.loading import load, parse
from tuner.config.settings import Study
from tuner.data.arrays import open_training, open_validation
from tuner.data.choice import choose_data
from tuner.data.manifest import find_data_sets, read_manifest
from tuner.data.pack import pack
from tuner.data.prepare import await_prepared, prepare
from tuner.errors import BucketError, DataError, EnvironmentFailure, UsageError
from tuner.study.compatibility import check_resume


def study(**data: Any) -> Study:
    return parse({"name": "night", "data": data}, "the test")


@pytest.fixture
def folder(tmp_path: Path, files: Files) -> str:
    return str(write_folder(tmp_path / "source", files))


def test_without_a_source_an_empty_bucket_gets_the_sample(bucket: Bucket) -> None:
    choice = choose_data(study(), bucket, None)
    assert choice.manifest.source == "the built-in sample"
    assert "built-in sample of generated images, not CIFAKE" in choice.reason


def test_without_a_source_the_only_data_set_of_the_bucket_is_used(bucket: Bucket, folder: str) -> None:
    packed = pack(folder, bucket)
    choice = choose_data(study(), bucket, None)
    assert choice.manifest == packed
    assert choice.reason == "No --data given: this run uses the only data set of the bucket, which is source."
    assert find_data_sets(bucket) == [packed.digest]


def test_without_a_source_several_data_sets_are_listed(tmp_path: Path, bucket: Bucket, folder: str) -> None:
    digests = {
        pack(folder, bucket).digest,
        pack(str(write_folder(tmp_path / "pets", data_set(train=8))), bucket).digest,
    }
    with pytest.raises(UsageError, match="has 2 data sets") as caught:
        choose_data(study(), bucket, None)
    message = str(caught.value)
    assert all(digest[:12] in message for digest in digests)
    assert "(pets: 22 images of 8x8, 2 classes)" in message
    assert "--data DIGEST" in message
    ended = run_in_process("run", "--bucket", tmp_path / "bucket")
    assert ended.code == 2
    assert "has 2 data sets" in ended.err


def test_an_existing_study_keeps_its_data_set(tmp_path: Path, bucket: Bucket, folder: str) -> None:
    first = pack(folder, bucket)
    other = str(write_folder(tmp_path / "pets", data_set(train=8)))
    pack(other, bucket)
    assert choose_data(study(), bucket, first.digest).manifest == first
    assert choose_data(study(source=folder), bucket, first.digest).manifest == first
    with pytest.raises(UsageError, match=rf"was started with the data set {first.digest[:12]}, but {other} is another"):
        choose_data(study(source=other), bucket, first.digest)


def test_the_source_of_a_study_that_has_changed_is_refused_before_it_is_packed(
    tmp_path: Path, bucket: Bucket, folder: str
) -> None:
    first = pack(folder, bucket)
    write_folder(Path(folder), {"train/REAL/new.png": encode(pixels(99))})
    with pytest.raises(UsageError, match="Remove --data"):
        choose_data(study(source=folder), bucket, first.digest)
    assert find_data_sets(bucket) == [first.digest]
    assert choose_data(study(), bucket, first.digest).manifest == first


def test_the_sample_of_a_study_is_packed_again_if_it_is_lost(bucket: Bucket, folder: str) -> None:
    sample = pack(None, bucket)
    bucket.delete(names.manifest(sample.digest))
    assert choose_data(study(), bucket, sample.digest).manifest == sample
    packed = pack(folder, bucket)
    bucket.delete(names.manifest(packed.digest))
    with pytest.raises(DataError, match=f"has no data set {packed.digest}"):
        choose_data(study(), bucket, packed.digest)


def test_a_packed_data_set_is_named_by_its_digest_or_its_first_digits(bucket: Bucket, folder: str) -> None:
    packed = pack(folder, bucket)
    pack(None, bucket)
    for source in (packed.digest, packed.digest[:12]):
        assert choose_data(study(source=source), bucket, None).manifest == packed
    with pytest.raises(DataError, match="has no data set 0123456789ab, and there is no file or folder of this name"):
        choose_data(study(source="0123456789ab"), bucket, None)
    with pytest.raises(UsageError, match="was started with the data set"):
        choose_data(study(source=packed.digest), bucket, "f" * 64)


def test_a_packed_data_set_is_not_converted_again(bucket: Bucket, folder: str) -> None:
    packed = pack(folder, bucket, resize=(4, 4))
    assert choose_data(study(resize=[4, 4]), bucket, None).manifest == packed
    for setting in ({"resize": [8, 8]}, {"convert": True}, {"labels": "labels.csv"}):
        with pytest.raises(UsageError, match=f"data.{next(iter(setting))} cannot be applied to the data set"):
            choose_data(study(source=packed.digest, **setting), bucket, None)


def test_settings_that_a_packed_data_set_cannot_follow_are_refused(bucket: Bucket, folder: str, tmp_path: Path) -> None:
    packed = pack(folder, bucket)
    with pytest.raises(UsageError, match=r"data\.columns cannot be applied"):
        choose_data(study(source=packed.digest, columns={"label": "class"}), bucket, None)
    assert choose_data(study(source=packed.digest, test=0.5), bucket, None).manifest == packed  # it has test images
    without_test = {path: data for path, data in data_set(train=8).items() if path.startswith("train/")}
    made = pack(str(write_folder(tmp_path / "made", without_test)), bucket)
    for setting in ("test", "test_seed"):
        with pytest.raises(UsageError, match=rf"data\.{setting} cannot be applied"):
            choose_data(study(source=made.digest, **{setting: 0.5 if setting == "test" else 2}), bucket, None)


def test_a_study_that_has_begun_keeps_its_data_set_whatever_the_settings_of_packing(
    bucket: Bucket, folder: str
) -> None:
    """`check_resume` lets them change without a source."""
    packed = pack(folder, bucket)
    changed = study(resize=[4, 4], convert=True, labels="labels.csv")
    check_resume(study(), changed, 0)
    assert choose_data(changed, bucket, packed.digest).manifest == packed
    assert prepare(changed, bucket, recorded=packed.digest).manifest == packed


def test_a_study_whose_source_is_gone_keeps_its_data_set(tmp_path: Path, bucket: Bucket, folder: str) -> None:
    packed = pack(folder, bucket)
    gone = str(tmp_path / "gone")
    choice = choose_data(study(source=gone), bucket, packed.digest)
    assert choice.manifest == packed
    assert choice.reason.startswith(f"{gone} does not exist: the existing study night keeps its data set")
    with pytest.raises(DataError, match="no such file or folder"):
        choose_data(study(source=gone), bucket, None)
    bucket.delete(names.manifest(packed.digest))
    with pytest.raises(DataError, match="no such file or folder"):
        choose_data(study(source=gone), bucket, packed.digest)


def test_a_study_whose_source_was_emptied_keeps_its_data_set(tmp_path: Path, bucket: Bucket, folder: str) -> None:
    packed = pack(folder, bucket)
    (empty := tmp_path / "mount").mkdir()
    with pytest.raises(DataError, match="mount: the folder is empty"):
        choose_data(study(source=str(empty)), bucket, None)
    choice = choose_data(study(source=str(empty)), bucket, packed.digest)
    assert choice.manifest == packed
    assert choice.reason.startswith(f"{empty} is empty: the existing study night keeps its data set")


@pytest.mark.parametrize("source", ["gs://no-such-bucket/images", "{gcs}/no-such-folder", "{gcs}/no-such.zip"])
def test_a_study_whose_source_in_a_bucket_is_gone_keeps_its_data_set(
    bucket: Bucket, folder: str, gcs_url: str, source: str
) -> None:
    packed = pack(folder, bucket)
    begun = study(source=source.format(gcs=gcs_url))
    with pytest.raises((DataError, BucketError), match=r"no such|no-such"):
        choose_data(begun, bucket, None)
    for choice in (choose_data(begun, bucket, packed.digest), prepare(begun, bucket, recorded=packed.digest)):
        assert choice.manifest == packed
        assert "the existing study night keeps its data set" in choice.reason
        assert "no-such" in choice.reason


@pytest.mark.parametrize("options", [("--columns", "file,label"), ("--set", "data.columns.label=label")])
def test_columns_without_labels_are_refused(tmp_path: Path, bucket: Bucket, folder: str, options: tuple[str]) -> None:
    commands: list[tuple[object, ...]] = [("run", "--data", folder, "--bucket", tmp_path / "bucket")]
    if options[0] == "--columns":
        commands += [("data", "check", folder), ("data", "pack", folder, tmp_path / "bucket")]
    for command in commands:
        ended = run_in_process(*command, *options)
        assert ended.code == 2
        assert "data.labels (option --labels) names no file" in ended.err
        assert find_data_sets(bucket) == []
    packed = pack(folder, bucket)  # a study that has begun with such settings continues
    begun = study(source=folder, columns={"label": "label"})
    assert choose_data(begun, bucket, packed.digest).manifest == packed


def test_resize_and_convert_are_settings_of_a_study(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    files["train/REAL/9.png"] = encode(pixels(9, 5, 7), mode="L")
    source = str(write_folder(tmp_path / "source", files))
    with pytest.raises(DataError, match=r"Use --convert \(setting data.convert: true\).*also use --resize 8x8"):
        choose_data(study(source=source), bucket, None)
    with pytest.raises(DataError, match=r"Use --resize 8x8 \(setting data.resize: \[8, 8\]\)"):
        choose_data(study(source=source, convert=True), bucket, None)
    choice = choose_data(load(None, [f"data.source={source}", "data.resize=[4, 6]", "data.convert=true"]), bucket, None)
    assert choice.manifest.image_shape == (4, 6, 3)


def test_a_class_without_images_to_validate_on_is_found_before_the_search(tmp_path: Path, bucket: Bucket) -> None:
    source = str(write_folder(tmp_path / "source", data_set(train=1, test=1)))
    with pytest.raises(DataError, match="to hold some out for validation"):
        choose_data(study(source=source), bucket, None)


def test_the_options_of_run_are_settings(tmp_path: Path, bucket: Bucket) -> None:
    """The source is refused for its sizes, unless the option is heeded; then for its lack of training images."""
    files = data_set(train=1, test=1) | {"train/REAL/9.png": encode(pixels(9, 5, 7))}
    source = write_folder(tmp_path / "source", files)
    ended = run_in_process("run", "--data", source, "--bucket", tmp_path / "bucket")
    assert ended.code == 2
    assert "Use --resize 8x8" in ended.err
    ended = run_in_process("run", "--data", source, "--bucket", tmp_path / "bucket", "--resize", "8x8")
    assert ended.code == 2
    assert "class FAKE has too few different training images" in ended.err
    (digest,) = find_data_sets(bucket)
    assert read_manifest(bucket, digest).resize == (8, 8)


def test_a_note_for_other_settings_is_not_believed(bucket: Bucket, folder: str) -> None:
    prepare(study(source=folder), bucket)
    with pytest.raises(EnvironmentFailure):
        await_prepared(study(source=folder, resize=[4, 4]), bucket, 0)
    digest = prepare(study(source=folder, resize=[4, 4]), bucket).manifest.digest
    assert await_prepared(study(source=folder, resize=[4, 4]), bucket, 0) == digest


def test_preparing_again_without_a_source_keeps_the_data_set(bucket: Bucket, folder: str) -> None:
    """The Job of an upgrade must not stop a search because another data set was packed meanwhile."""
    sample = prepare(study(), bucket).manifest
    packed = pack(folder, bucket)
    assert prepare(study(), bucket).manifest == sample
    assert prepare(study(), bucket, recorded=packed.digest).manifest == packed


def test_validation_images_of_the_source_are_those_that_trials_are_compared_on(tmp_path: Path, bucket: Bucket) -> None:
    files = data_set(train=6, test=3)
    validation = {f"val/{name}/{n}.png": encode(pixels(50 + n)) for name in ("FAKE", "REAL") for n in range(2)}
    manifest = pack(str(write_folder(tmp_path / "source", files | validation)), bucket)
    data = open_training(bucket, manifest, 0.5, 1, tmp_path / "cache")
    assert len(data.train.images) == 12
    assert data.validation.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(data.validation.images[1], pixels(51))
    again = open_validation(bucket, manifest, 0.1, 2, tmp_path / "cache")
    np.testing.assert_array_equal(again.images, data.validation.images)
