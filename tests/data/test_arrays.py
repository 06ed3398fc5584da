"""Arrays for training and evaluation: right, shared, and out of verified shards only."""

import hashlib
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data.images import data_set, encode, pixels, write_folder
from tests.support.disks import small_disk
from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.data import pack as pack_module
from tuner.data.arrays import open_split, open_training
from tuner.data.holdout import validation_indices
from tuner.data.manifest import Manifest, read_manifest
from tuner.data.pack import pack
from tuner.errors import BucketError, DataError

COPIES = {"train/REAL/100.png": pixels(4), "train/REAL/101.png": pixels(4), "train/FAKE/100.png": pixels(4)}


@pytest.fixture
def manifest(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Three classes, several shards, and one image three times in two classes."""
    monkeypatch.setattr(pack_module, "SHARD_BYTES", 7 * 8 * 8 * 3)
    files = data_set(("FAKE", "OTHER", "REAL"), train=20, test=5)
    files |= {name: encode(array) for name, array in COPIES.items()}
    return pack(str(write_folder(tmp_path / "source", files)), bucket)


class CountingBucket:
    """Counts downloads by object."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self.url, self.downloads = bucket, bucket.url, list[str]()

    def download(self, name: str, path: Path) -> None:
        self.downloads.append(name)
        self._bucket.download(name, path)


def all_images(bucket: Bucket, manifest: Manifest, split: str, tmp_path: Path) -> NDArray[np.uint8]:
    parts = []
    for shard in manifest.splits[split].shards:
        bucket.download(shard.name, tmp_path / "one.npy")
        parts.append(np.load(tmp_path / "one.npy"))
    return np.concatenate(parts)


def test_a_split_is_its_shards_end_to_end_with_labels(tmp_path: Path, bucket: Bucket, manifest: Manifest) -> None:
    arrays = open_split(bucket, manifest, "train", tmp_path / "cache")
    np.testing.assert_array_equal(arrays.images, all_images(bucket, manifest, "train", tmp_path))
    expected = [manifest.classes.index(name.split("/")[0]) for name in manifest.splits["train"].names]
    assert arrays.labels.tolist() == expected
    assert arrays.labels.dtype == np.uint8


def test_arrays_are_mapped_and_cannot_be_written(tmp_path: Path, bucket: Bucket, manifest: Manifest) -> None:
    training = open_training(bucket, manifest, 0.2, 1, tmp_path / "cache")
    for arrays in (training.train, training.validation, open_split(bucket, manifest, "test", tmp_path / "cache")):
        assert isinstance(arrays.images, np.memmap)
        assert arrays.images.flags.c_contiguous
        for array in (arrays.images, arrays.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_train_and_validation_are_the_training_images_in_two(
    tmp_path: Path, bucket: Bucket, manifest: Manifest
) -> None:
    everything = open_split(bucket, manifest, "train", tmp_path / "cache")
    held_out = validation_indices(manifest, 0.2, 1)
    kept = [index for index in range(63) if index not in held_out]
    training = open_training(bucket, manifest, 0.2, 1, tmp_path / "cache")
    for arrays, indices in ((training.validation, held_out), (training.train, kept)):
        np.testing.assert_array_equal(arrays.images, everything.images[indices])
        np.testing.assert_array_equal(arrays.labels, everything.labels[indices])


def test_each_shard_is_fetched_once_and_test_never_for_training(
    tmp_path: Path, bucket: Bucket, manifest: Manifest
) -> None:
    counting: Any = CountingBucket(bucket)
    for _ in range(3):
        open_training(counting, manifest, 0.2, 1, tmp_path / "cache")
    assert counting.downloads == [shard.name for shard in manifest.splits["train"].shards]
    open_training(counting, manifest, 0.2, 2, tmp_path / "cache")
    assert len(counting.downloads) == 2 * len(manifest.splits["train"].shards)


def test_another_seed_or_share_gives_other_arrays_from_the_same_cache(
    tmp_path: Path, bucket: Bucket, manifest: Manifest
) -> None:
    cache = tmp_path / "cache"
    first, seed, share = (open_training(bucket, manifest, *by, cache) for by in ((0.2, 1), (0.2, 2), (0.4, 1)))
    assert len(seed.validation.images) == len(first.validation.images)
    assert not np.array_equal(first.validation.images, seed.validation.images)
    assert len(share.validation.images) > len(first.validation.images)


def test_a_damaged_shard_is_an_error_that_names_it(tmp_path: Path, bucket: Bucket, manifest: Manifest) -> None:
    name = names.shard(manifest.digest, "train", 3)
    data = bytearray(bucket.read(name))
    data[-1] ^= 1
    bucket.write(name, bytes(data))
    with pytest.raises(DataError, match=name):
        open_training(bucket, manifest, 0.2, 1, tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.npy")) == []
    open_split(bucket, manifest, "test", tmp_path / "cache")


def test_a_transfer_damaged_once_is_tried_again(tmp_path: Path, bucket: Bucket, manifest: Manifest) -> None:
    class Flipping(CountingBucket):
        def download(self, name: str, path: Path) -> None:
            super().download(name, path)
            if len(self.downloads) == 1:
                path.write_bytes(path.read_bytes()[:-1] + b"\0\0")

    flipping: Any = Flipping(bucket)
    arrays = open_split(flipping, manifest, "test", tmp_path / "cache")
    np.testing.assert_array_equal(arrays.images, all_images(bucket, manifest, "test", tmp_path))


@pytest.mark.parametrize("damage", ["cut", "another shape"])
def test_a_cached_file_that_is_not_whole_is_made_again(
    tmp_path: Path, bucket: Bucket, manifest: Manifest, damage: str
) -> None:
    expected = np.array(open_split(bucket, manifest, "test", tmp_path / "cache").images)
    (cached,) = (tmp_path / "cache").rglob("*.npy")
    if damage == "cut":
        cached.write_bytes(cached.read_bytes()[:-1])
    else:
        np.save(cached, expected[:-1])
    np.testing.assert_array_equal(open_split(bucket, manifest, "test", tmp_path / "cache").images, expected)


def _open_in_another_process(url: str, digest: str, cache: Path) -> tuple[str, int]:
    bucket = open_bucket(url)
    counting: Any = CountingBucket(bucket)
    training = open_training(counting, read_manifest(bucket, digest), 0.2, 1, cache)
    return hashlib.sha256(training.train.images.tobytes()).hexdigest(), len(counting.downloads)


def test_a_cache_without_room_for_the_data_is_named_before_anything_is_fetched(
    tmp_path: Path, bucket: Bucket, manifest: Manifest
) -> None:
    with small_disk(tmp_path / "cache", 64) as cache:
        (cache / "large").write_bytes(bytes(60 << 10))
        with pytest.raises(
            BucketError, match=r"are needed for the data in the cache, and 0\.0 MiB are free\. Free some"
        ):
            open_training(bucket, manifest, 0.2, 1, cache)
        assert not list(cache.glob("*/*.npy"))


def test_racing_workers_share_what_one_of_them_fetched(tmp_path: Path, bucket: Bucket, manifest: Manifest) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        arguments = [(bucket.url, manifest.digest, tmp_path / "cache")] * 8
        results = pool.starmap(_open_in_another_process, arguments, chunksize=1)
    assert len({sha256 for sha256, _ in results}) == 1
    assert sum(downloads for _, downloads in results) == len(manifest.splits["train"].shards)


def test_what_a_killed_worker_left_is_removed(tmp_path: Path, bucket: Bucket, manifest: Manifest) -> None:
    left = tmp_path / "cache" / manifest.digest / ".making-train-abcd"
    left.mkdir(parents=True)
    (left / "0.npy").write_bytes(b"half")
    open_training(bucket, manifest, 0.2, 1, tmp_path / "cache")
    assert not left.exists()


# ---- validation ---------------------------------------------------------------------------------
def test_validation_is_stratified(manifest: Manifest) -> None:
    held_out = validation_indices(manifest, 0.25, 7)
    assert sorted(set(held_out.tolist())) == held_out.tolist()
    labels = np.repeat(np.arange(3), manifest.splits["train"].counts)
    assert np.abs(np.bincount(labels[held_out]) - 0.25 * np.array([21, 20, 22])).max() <= 1


def test_exact_duplicates_are_on_one_side_whatever_their_class(manifest: Manifest) -> None:
    copies = [index for index, name in enumerate(manifest.splits["train"].names) if f"train/{name}" in COPIES]
    assert len(copies) == 3
    counts = [len(set(copies) & set(validation_indices(manifest, 0.3, seed).tolist())) for seed in range(1, 60)]
    assert set(counts) == {0, 3}  # both happen, nothing between


def test_validation_is_the_same_on_every_machine(bucket: Bucket) -> None:
    sample = pack(None, bucket)
    held_out = validation_indices(sample, 0.1, 1)
    assert len(held_out) == 200
    assert hashlib.sha256(held_out.astype("<i8").tobytes()).hexdigest() == VALIDATION_OF_THE_SAMPLE
    assert not np.array_equal(held_out, validation_indices(sample, 0.1, 2))


VALIDATION_OF_THE_SAMPLE = "6e4ca12f0c517486e3d18de6c53fa0f157012c2807cb9d190b9eb4c95dc44f9e"


@pytest.mark.parametrize(("fraction", "expected"), [(0.001, 1), (0.5, 500), (0.9999, 999)])
def test_both_sides_have_at_least_one_image_of_each_class(bucket: Bucket, fraction: float, expected: int) -> None:
    sample = pack(None, bucket)
    held_out = validation_indices(sample, fraction, 1)
    assert np.bincount(held_out // 1000).tolist() == [expected, expected]


def test_a_class_of_one_image_in_many_copies_cannot_be_split(tmp_path: Path, bucket: Bucket) -> None:
    files = data_set(train=3)
    for number in range(3):
        files[f"train/REAL/{number}.png"] = encode(pixels(1))
    del files["train/REAL/0 (2).png"]
    manifest = pack(str(write_folder(tmp_path / "source", files)), bucket)
    with pytest.raises(DataError, match="class REAL has too few different training images"):
        validation_indices(manifest, 0.3, 1)
