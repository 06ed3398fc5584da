"""CIFAKE itself, all 120,000 images, against what its publication says."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.bucket import Bucket, open_bucket
from tuner.data.arrays import open_split
from tuner.data.check import check
from tuner.data.cifake import verify
from tuner.data.holdout import validation_indices
from tuner.data.manifest import Manifest, read_manifest
from tuner.data.pack import pack
from tuner.data.zip_directory import read_entries

pytestmark = pytest.mark.slow
PILLOWS_SHA256 = "f6268b89b6e23dc77f38b676eac301631297ed370a7c3431dabb99b03a27f829"
"""SHA-256 of the digests of all shards, of which every image was found to have the pixels that Pillow decodes."""


@pytest.fixture(scope="module")
def packed(cifake_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bucket, Manifest]:
    bucket = open_bucket(str(tmp_path_factory.mktemp("bucket")))
    return bucket, pack(str(cifake_zip), bucket)


def test_every_pixel_is_pillows(cifake_zip: Path, packed: tuple[Bucket, Manifest], tmp_path: Path) -> None:
    """Of pixels that were all compared with Pillow's before, every tenth image is compared again; of others, each."""
    bucket, manifest = packed
    shards = [shard.sha256 for split in ("train", "test") for shard in manifest.splits[split].shards]
    step = 10 if hashlib.sha256("".join(shards).encode()).hexdigest() == PILLOWS_SHA256 else 1
    assert read_manifest(bucket, manifest.digest) == manifest
    assert manifest.image_shape == (32, 32, 3)
    with zipfile.ZipFile(cifake_zip) as archive:
        for split, count in (("train", 50_000), ("test", 10_000)):
            assert manifest.splits[split].counts == (count, count)
            arrays = open_split(bucket, manifest, split, tmp_path)
            for index, name in list(enumerate(manifest.splits[split].names))[::step]:
                data = archive.read(f"{split}/{name}")
                if arrays.images[index].tobytes() != pillows(data, opened=index % 100 == 0).tobytes():
                    pytest.fail(f"{split}/{name} has other pixels than Pillow's")


def pillows(data: bytes, opened: bool) -> Image.Image:
    """Decode CIFAKE's JPEG with Pillow, whose decoder takes a third of the time without its parser of headers."""
    image = Image.frombytes("RGB", (32, 32), data, "jpeg", ("RGB", ""))
    if opened:  # the way that users know gives the same
        assert image.tobytes() == Image.open(io.BytesIO(data)).tobytes()
    return image


def test_check_finds_the_duplicates_that_are_known(cifake_zip: Path) -> None:
    report = check(str(cifake_zip))
    assert report.pairs_within("train/FAKE") == 920
    assert report.pairs_within("test/FAKE") == 38
    assert report.pairs_across() == 378
    assert sum(duplicate.pairs for duplicate in report.duplicates) == 920 + 38 + 378
    assert report.corrupt == ()
    assert [(kind.height, kind.width, kind.mode, kind.images) for kind in report.kinds] == [(32, 32, "RGB", 120_000)]


def test_the_archive_is_verified_by_its_published_digests(cifake_zip: Path) -> None:
    verify(cifake_zip)


def test_the_directory_of_120_000_files_is_read_as_zipfile_reads_it(cifake_zip: Path) -> None:
    with zipfile.ZipFile(cifake_zip) as archive:
        expected = [
            (i.filename, i.flag_bits, i.compress_type, i.CRC, i.compress_size, i.file_size, i.header_offset)
            for i in archive.infolist()
        ]
    assert list(read_entries(cifake_zip)) == expected


def test_no_training_image_is_a_copy_of_a_validation_image(packed: tuple[Bucket, Manifest]) -> None:
    _, manifest = packed
    sha256 = np.array(manifest.splits["train"].sha256)
    held_out = validation_indices(manifest, 0.1, 1)
    assert np.bincount(held_out // 50_000).tolist() == [5000, 5000]
    kept = np.delete(np.arange(100_000), held_out)
    assert not set(sha256[held_out]) & set(sha256[kept])
