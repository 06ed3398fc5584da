"""Memory-mapped, read-only arrays of a data set, made from its shards and shared by all processes of a machine.

The test, training and validation images become one .npy file each in `cache/<digest>/`. A file is written under
a temporary name and then renamed, so that only complete files are visible. All workers map the same pages.
"""

import contextlib
import fcntl
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.bucket import Bucket
from tuner.data.holdout import validation_indices
from tuner.data.manifest import Manifest, Shard, Split
from tuner.data.split_names import TRAIN, VALIDATION
from tuner.errors import BucketError, DataError
from tuner.names import ENV_CACHE
from tuner.temporary_files import shortage

_MAKING = ".making-"


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images and labels in the same order. Instances are compared by identity, so they can be dictionary keys."""

    images: NDArray[np.uint8]
    """Pixels of shape (n, height, width, 3), memory-mapped and read-only."""
    labels: NDArray[np.uint8]
    """Indices of the manifest's classes, of shape (n,), read-only; uint16 if there are more than 256 classes."""

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class TrainingData:
    """The images to train on and to validate on."""

    train: Arrays
    validation: Arrays


def open_split(bucket: Bucket, manifest: Manifest, split: str, cache: Path) -> Arrays:
    """Return all images of a split, in the manifest's order.

    Raises DataError if a shard is damaged, and BucketError if a shard cannot be read or the cache cannot be written.
    """
    part = manifest.splits[split]
    everything = np.arange(sum(part.counts))
    return _open(bucket, manifest, split, {split: everything}, cache)[split]


def open_validation(bucket: Bucket, manifest: Manifest, validation: float, seed: int, cache: Path) -> Arrays:
    """Return only the validation images of `open_training`, without unpacking the other training images."""
    if VALIDATION in manifest.splits:
        return open_split(bucket, manifest, VALIDATION, cache)
    name = f"validation-{_share(validation, seed)}"
    return _open(bucket, manifest, "train", {name: validation_indices(manifest, validation, seed)}, cache)[name]


def open_training(bucket: Bucket, manifest: Manifest, validation: float, seed: int, cache: Path) -> TrainingData:
    """Return the images to train on and to validate on. Test shards are not read.

    If the data set has a validation split, these are its splits. Otherwise, `validation` is the fraction of the
    training images to hold out. Raises DataError if a shard is damaged or a part would have no images, and BucketError
    if a shard cannot be read or the cache cannot be written.
    """
    if VALIDATION in manifest.splits:
        return TrainingData(open_split(bucket, manifest, TRAIN, cache), open_split(bucket, manifest, VALIDATION, cache))
    held_out = validation_indices(manifest, validation, seed)
    kept = np.setdiff1d(np.arange(sum(manifest.splits["train"].counts)), held_out, assume_unique=True)
    names = {f"train-without-{_share(validation, seed)}": kept, f"validation-{_share(validation, seed)}": held_out}
    parts = _open(bucket, manifest, "train", names, cache)
    train, validation_part = parts.values()
    return TrainingData(train, validation_part)


def _share(validation: float, seed: int) -> str:
    return f"{validation!r}-seed{seed}"


def _open(
    bucket: Bucket, manifest: Manifest, split: str, parts: dict[str, NDArray[np.intp]], cache: Path
) -> dict[str, Arrays]:
    folder = cache / manifest.digest
    paths = {name: folder / f"{name}.npy" for name in parts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not all(_is_whole(paths[name], parts[name], manifest) for name in parts):
            with _lock(folder / f".{split}.lock") as is_locked:
                if is_locked:
                    for abandoned in folder.glob(f"{_MAKING}{split}-*"):
                        shutil.rmtree(abandoned, ignore_errors=True)
                if not all(_is_whole(paths[name], parts[name], manifest) for name in parts):
                    _lay_out(bucket, manifest, split, {paths[name]: parts[name] for name in parts})
        labels = _labels(manifest.splits[split])
        return {name: Arrays(_map(paths[name]), _frozen(labels[parts[name]])) for name in parts}
    except OSError as error:
        raise BucketError(
            f"{folder}: the cache cannot be used ({error.strerror or error}). Set {ENV_CACHE} to a "
            "writable folder with free space."
        ) from None


def _lay_out(bucket: Bucket, manifest: Manifest, split: str, parts: dict[Path, NDArray[np.intp]]) -> None:
    """Fetch the split's shards one by one, and copy each image into the file of its part."""
    folder = next(iter(parts)).parent
    _require_room(manifest, split, sum(len(indices) for indices in parts.values()), folder)
    with tempfile.TemporaryDirectory(prefix=f"{_MAKING}{split}-", dir=folder) as scratch:
        making = {}
        for number, (path, indices) in enumerate(parts.items()):
            new = Path(scratch) / f"{number}.npy"
            shape = (len(indices), *manifest.image_shape)
            making[path] = (new, np.lib.format.open_memmap(new, "w+", np.uint8, shape), indices)
        start = 0
        for shard in manifest.splits[split].shards:
            images = _fetch(bucket, shard, manifest.image_shape, Path(scratch) / "shard.npy")
            for _, array, indices in making.values():
                first, last = np.searchsorted(indices, (start, start + shard.images))
                array[first:last] = images[indices[first:last] - start]
            start += shard.images
            del images
        for path, (new, array, _) in making.items():
            array.flush()
            del array
            new.replace(path)


def _require_room(manifest: Manifest, split: str, images: int, folder: Path) -> None:
    """Raise BucketError if the folder has no room for so many images and the largest shard.

    Writing to a mapped file on a full disk would end the process with SIGBUS.
    """
    shard_bytes = max(shard.size_bytes for shard in manifest.splits[split].shards)
    needed = images * math.prod(manifest.image_shape) + shard_bytes
    if problem := shortage(folder, needed, "for the data in the cache"):
        raise BucketError(
            f"{folder}: {problem}. Free some space there, or set {ENV_CACHE} to a folder with more space."
        )


def _fetch(bucket: Bucket, shard: Shard, image_shape: tuple[int, int, int], path: Path) -> NDArray[np.uint8]:
    """Return a shard's verified images. A second download distinguishes a damaged transfer from a damaged object."""
    for _ in range(2):
        bucket.download(shard.name, path)
        if path.stat().st_size == shard.size_bytes and _sha256(path) == shard.sha256:
            break
    else:
        raise DataError(
            f"{bucket.url}: the shard {shard.name} is damaged (its SHA-256 differs from the manifest's). Delete "
            "the shard's folder, and pack the data again."
        )
    images = _map(path)
    if images.shape != (shard.images, *image_shape) or images.dtype != np.uint8:
        raise DataError(
            f"{bucket.url}: the shard {shard.name} does not have the shape that the manifest gives. Delete the "
            "shard's folder, and pack the data again."
        )
    return images


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _map(path: Path) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _is_whole(path: Path, indices: NDArray[np.intp], manifest: Manifest) -> bool:
    """Return whether the cached file has the expected header and size."""
    shape = (len(indices), *manifest.image_shape)
    try:
        with open(path, "rb") as stream:
            np.lib.format.read_magic(stream)
            header_shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            size_bytes = stream.tell() + math.prod(shape)
            return (header_shape, fortran, dtype.str) == (shape, False, "|u1") and os.fstat(
                stream.fileno()
            ).st_size == size_bytes
    except (FileNotFoundError, ValueError):
        return False


def _labels(part: Split) -> NDArray[np.uint8]:
    kind = np.uint8 if len(part.counts) <= 256 else np.uint16
    labels: NDArray[np.uint8] = np.repeat(np.arange(len(part.counts), dtype=kind), part.counts)
    return labels


def _frozen(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    array.flags.writeable = False
    return array


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Let one process of this machine fetch while the others wait. The lock of a dead process is released.

    Yields False on a file system without locks. Each process then fetches for itself, which is safe.
    """
    with open(path, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
