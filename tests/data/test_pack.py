"""What packing writes, and what it leaves when it is cut short."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.conftest import ROOT
from tests.data.images import Files, data_set, encode, pixels, write_folder, write_zip
from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.cli.data_options import packing_settings
from tuner.data import pack as pack_module
from tuner.data.folder_source import FolderSource
from tuner.data.manifest import Manifest, find_data_sets, read_manifest
from tuner.data.pack import pack
from tuner.data.source import Progress
from tuner.errors import BucketError, ConfigError, DataError


def images(bucket: Bucket, manifest: Manifest, split: str) -> NDArray[np.uint8]:
    """All pixels of a split, with every shard's digest compared."""
    parts = []
    for shard in manifest.splits[split].shards:
        data = bucket.read(shard.name)
        assert hashlib.sha256(data).hexdigest() == shard.sha256
        assert len(data) == shard.size_bytes
        parts.append(np.load(io.BytesIO(data), allow_pickle=False))
        assert parts[-1].shape == (shard.images, *manifest.image_shape)
        assert parts[-1].dtype == np.uint8
    return np.concatenate(parts)


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_shards_hold_the_images_class_by_class_as_the_manifest_names_them(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    manifest = pack(str(write_folder(tmp_path / "source", files)), bucket)
    assert manifest == read_manifest(bucket, manifest.digest)
    assert manifest.classes == ("FAKE", "REAL")
    assert manifest.image_shape == (8, 8, 3)
    assert "simplejpeg" in manifest.decoder
    assert manifest.source == "source"
    for split, count in (("train", 6), ("test", 3)):
        part = manifest.splits[split]
        assert part.counts == (count, count)
        assert [name.split("/")[0] for name in part.names] == ["FAKE"] * count + ["REAL"] * count
        packed_images = images(bucket, manifest, split)
        for name, sha256, image in zip(part.names, part.sha256, packed_images, strict=True):
            data = files[f"{split}/{name}"]
            assert hashlib.sha256(data).hexdigest() == sha256
            np.testing.assert_array_equal(image, by_pillow(data))


def test_a_zip_and_the_folder_unpacked_from_it_are_the_same_data_set(
    tmp_path: Path, bucket: Bucket, files: Files
) -> None:
    folder = pack(str(write_folder(tmp_path / "folder", files)), bucket)
    shuffled = {f"DATASET/{name}": files[name] for name in sorted(files, reverse=True)}
    archive = pack(str(write_zip(tmp_path / "archive.zip", shuffled, zipfile.ZIP_DEFLATED)), bucket)
    assert archive.digest == folder.digest
    assert find_data_sets(bucket) == [folder.digest]


@pytest.mark.parametrize("change", ["pixels", "name", "class", "resize", "split"])
def test_whatever_changes_the_arrays_changes_the_digest(
    tmp_path: Path, bucket: Bucket, files: Files, change: str
) -> None:
    original = pack(str(write_folder(tmp_path / "before", files)), bucket)
    changed = dict(files)
    if change == "pixels":
        changed["train/REAL/0.png"] = encode(pixels(12345))
    elif change == "name":
        changed["train/REAL/77.png"] = changed.pop("train/REAL/0.png")
    elif change == "class":
        changed = {name.replace("REAL", "TRUE"): data for name, data in files.items()}
    elif change == "split":
        changed["test/REAL/99.png"] = changed.pop("train/REAL/0.png")
    after = pack(str(write_folder(tmp_path / "after", changed)), bucket, resize=(4, 4) if change == "resize" else None)
    assert after.digest != original.digest
    assert (after.source_digest == original.source_digest) == (change == "resize")


def test_packing_twice_writes_nothing(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    source = str(write_folder(tmp_path / "source", files))
    first = pack(source, bucket)
    written = _written(tmp_path / "bucket")
    assert len(written) == 3
    steps: list[Progress] = []
    assert pack(source, bucket, progress=steps.append) == first
    assert _written(tmp_path / "bucket") == written
    assert {step.what for step in steps} == {"reading"}


def _written(bucket: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (bucket / "data").rglob("*") if path.is_file()}


@pytest.mark.parametrize("lost", ["shard", "manifest's half"])
def test_a_data_set_that_lost_something_is_packed_again(
    tmp_path: Path, bucket: Bucket, files: Files, lost: str
) -> None:
    source = str(write_folder(tmp_path / "source", files))
    first = pack(source, bucket)
    if lost == "shard":
        bucket.delete(names.shard(first.digest, "test", 0))
    else:
        whole = bucket.read(names.manifest(first.digest))
        bucket.write(names.manifest(first.digest), whole[: len(whole) // 2])
    repacked = pack(source, bucket)
    assert repacked == first == read_manifest(bucket, first.digest)
    assert len(images(bucket, repacked, "test")) == 6


class FailingBucket:
    """A bucket whose `failing_write`th write (from 0) fails."""

    def __init__(self, bucket: Bucket, failing_write: int) -> None:
        self._bucket, self._left, self.url = bucket, failing_write, bucket.url
        self.list, self.exists, self.read, self.delete = bucket.list, bucket.exists, bucket.read, bucket.delete

    def write(self, name: str, data: bytes) -> None:
        if not self._left:
            raise BucketError("The bucket is full.")
        self._left -= 1
        self._bucket.write(name, data)

    create = write


@pytest.mark.parametrize("failing_write", [0, 1, 2])
def test_a_pack_cut_short_leaves_no_manifest_and_the_next_one_mends_it(
    tmp_path: Path, bucket: Bucket, files: Files, failing_write: int
) -> None:
    source = str(write_folder(tmp_path / "source", files))
    with pytest.raises(BucketError):
        pack(source, FailingBucket(bucket, failing_write))  # type: ignore[arg-type]
    assert find_data_sets(bucket) == []
    manifest = pack(source, bucket)
    assert len(images(bucket, manifest, "train")) == 12


@pytest.mark.slow
def test_a_pack_that_is_killed_leaves_no_manifest(cifake_zip: Path, tmp_path: Path) -> None:
    program = (
        "import sys, os, signal\n"
        "from tuner.bucket import open_bucket\n"
        "from tuner.data.pack import pack\n"
        "def show(progress):\n"
        "    if progress.what == 'packing': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__': pack(sys.argv[1], open_bucket(sys.argv[2]), progress=show)\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, str(script), str(cifake_zip), str(tmp_path / "bucket")],
        env=environment, stderr=subprocess.DEVNULL, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL
    bucket = open_bucket(str(tmp_path / "bucket"))
    assert any(name.endswith(".npy") for name in bucket.list())
    assert find_data_sets(bucket) == []


def test_a_source_that_disappears_half_way_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    folder = write_folder(tmp_path / "source", files)

    def remove(progress: Progress) -> None:
        (folder / "test" / "REAL" / "1.png").unlink(missing_ok=True)

    with pytest.raises(DataError, match=r"test/REAL/1\.png: disappeared from source while it was being read"):
        pack(str(folder), bucket, progress=remove)
    assert find_data_sets(bucket) == []


def test_an_archive_that_shrinks_half_way_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    archive = write_zip(tmp_path / "archive.zip", files)

    with pytest.raises(DataError, match="cut short"):
        pack(str(archive), bucket, progress=lambda _: os.truncate(archive, 100))
    assert find_data_sets(bucket) == []


def test_an_image_that_changes_half_way_is_refused(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    folder = write_folder(tmp_path / "source", files)
    changing = folder / "test" / "REAL" / "1.png"

    def change(_: Progress) -> None:
        write_folder(changing.parent, {"1.png": encode(pixels(777))})

    with pytest.raises(DataError, match="changed in source while it was being packed"):
        pack(
            str(folder),
            bucket,
            progress=change,
        )
    assert find_data_sets(bucket) == []


def test_many_shards_are_cut_where_they_should_be(
    tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "SHARD_BYTES", 5 * 8 * 8 * 3 + 1)
    manifest = pack(str(write_folder(tmp_path / "source", files)), bucket)
    assert [shard.images for shard in manifest.splits["train"].shards] == [5, 5, 2]
    assert [shard.images for shard in manifest.splits["test"].shards] == [5, 1]
    expected = [by_pillow(files[f"train/{name}"]) for name in manifest.splits["train"].names]
    np.testing.assert_array_equal(images(bucket, manifest, "train"), expected)


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "WEBP"])
def test_five_classes_and_another_size_and_format_work(tmp_path: Path, bucket: Bucket, kind: str) -> None:
    classes = ("a", "b", "c", "d", "e")
    files = {}
    for index, name in enumerate(data_set(classes, train=2, test=1)):
        files[name.replace(".png", f".{kind.lower()}")] = encode(pixels(index, 20, 12), kind)
    manifest = pack(str(write_zip(tmp_path / "archive.zip", files)), bucket)
    assert manifest.classes == classes
    assert manifest.image_shape == (20, 12, 3)
    assert manifest.splits["train"].counts == (2, 2, 2, 2, 2)
    expected = [by_pillow(files[f"train/{name}"]) for name in manifest.splits["train"].names]
    np.testing.assert_array_equal(images(bucket, manifest, "train"), expected)


def test_other_sizes_are_resized_when_asked_to(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    plain = Image.new("RGB", (40, 30), (10, 200, 30))
    odd = encode(np.asarray(plain))
    manifest = pack(str(write_folder(tmp_path / "source", {**files, "test/REAL/9.png": odd})), bucket, resize=(6, 10))
    assert manifest.image_shape == (6, 10, 3)
    np.testing.assert_array_equal(images(bucket, manifest, "test")[-1], np.full((6, 10, 3), (10, 200, 30), np.uint8))


def test_greyscale_becomes_rgb_when_asked_to(tmp_path: Path, bucket: Bucket, files: Files) -> None:
    grey = encode(pixels(3), "JPEG", mode="L")
    folder = write_folder(tmp_path / "source", {**files, "test/REAL/9.jpg": grey})
    last = images(bucket, pack(str(folder), bucket, convert=True), "test")[-1]
    np.testing.assert_array_equal(last, np.repeat(by_pillow(grey)[..., None], 3, axis=2))


@pytest.mark.parametrize("text", ["32", "32x", "axb", "-1x5", "32x32x3", "0x32", "32x99999"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--resize must be HEIGHTxWIDTH in pixels, such as \d+x\d+"):
        packing_settings(text, False, None, None, None)


def test_objects_in_a_bucket_are_packed_as_the_same_data_set(
    tmp_path: Path, bucket: Bucket, files: Files, remote_url: str
) -> None:
    local_manifest = pack(str(write_folder(tmp_path / "source", files)), bucket)
    away = open_bucket(remote_url)
    for name, data in files.items():
        away.write(f"some/prefix/{name}", data)
    away.write("some/archive.zip", write_zip(tmp_path / "archive.zip", files).read_bytes())
    target = open_bucket(f"{remote_url}/packed")
    for source in ("some/prefix", "some/prefix/", "some/archive.zip"):
        manifest = pack(f"{remote_url}/{source}", target)
        assert manifest.digest == local_manifest.digest
    assert find_data_sets(target) == [local_manifest.digest]
    np.testing.assert_array_equal(images(target, local_manifest, "test"), images(bucket, local_manifest, "test"))


def test_an_empty_prefix_in_a_bucket_is_refused(bucket: Bucket, remote_url: str) -> None:
    with pytest.raises(DataError, match="holds no objects"):
        pack(f"{remote_url}/nothing", bucket)


def test_a_damaged_or_missing_manifest_is_an_error_that_names_it(bucket: Bucket) -> None:
    digest = pack(None, bucket).digest
    with pytest.raises(DataError, match="has no data set"):
        read_manifest(bucket, "0" * 64)
    name = names.manifest(digest)
    whole = bucket.read(name)
    for damaged in (
        b"",
        whole[:-1],
        whole.replace(b"REAL/0001", b"REAL/9999"),
        whole.replace(b"1000,1000", b"1000,999"),
    ):
        assert damaged != whole
        bucket.write(name, damaged)
        with pytest.raises(DataError, match=rf"{name} is damaged"):
            read_manifest(bucket, digest)


def test_several_processes_pack_what_one_does(
    tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(write_folder(tmp_path / "source", files))
    alone = pack(source, bucket)
    monkeypatch.setattr("tuner.data.processes.ALONE_FILES", 1)
    monkeypatch.setattr("tuner.data.processes.CHUNK_FILES", 2)
    assert pack(source, open_bucket(str(tmp_path / "other"))) == alone


def test_an_error_in_another_process_is_the_same_sentence(
    tmp_path: Path, bucket: Bucket, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.data.processes.ALONE_FILES", 1)
    jpeg = encode(pixels(1), "JPEG")[:-40]
    with pytest.raises(DataError, match=r"^test/REAL/9\.jpg: is a damaged JPEG"):
        pack(str(write_folder(tmp_path / "source", {**files, "test/REAL/9.jpg": jpeg})), bucket)


def test_a_folder_is_named_by_its_own_name_only(tmp_path: Path, files: Files) -> None:
    assert FolderSource(write_folder(tmp_path / "mine", files)).name == "mine"
