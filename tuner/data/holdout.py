"""Select the images that are held out: validation images to compare trials, and test images if a source has none."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.data.manifest import Manifest
from tuner.errors import DataError


def validation_indices(manifest: Manifest, fraction: float, seed: int) -> NDArray[np.intp]:
    """Return the ascending indices of the training images to hold out: `fraction` of each class, rounded.

    Exact duplicates (files with the same SHA-256) stay on the same side, even if their classes differ. Otherwise, the
    model would be validated on images that it was trained on. The selection depends only on the images' hashes and the
    seed, so it is the same on every machine, and changes little if images are added. Raises DataError if a class would
    have no image on one of the sides.
    """
    split = manifest.splits["train"]
    return _held_out(manifest.classes, split.counts, split.sha256, fraction, f"{seed}", "validation")


def split_off_test(
    classes: Sequence[str],
    counts: Sequence[int],
    sha256: Sequence[str],
    fraction: float,
    seed: int,
    kept: Collection[str] = (),
) -> NDArray[np.intp]:
    """Return the ascending indices of the images that become test images, by the same rules.

    Args:
        classes: Names of the classes.
        counts: Number of images of each class, class by class.
        sha256: Hex digest of each image's file.
        fraction: Fraction of the images of each class.
        seed: Seed of the selection.
        kept: Digests of images that must not become test images, because the source has them in another split.

    Raises:
        DataError: A class would have no image on one of the sides.
    """
    return _held_out(classes, counts, sha256, fraction, f"test {seed}", "testing", kept)


def _held_out(
    classes: Sequence[str],
    counts: Sequence[int],
    hashes: Sequence[str],
    fraction: float,
    seed: str,
    purpose: str,
    kept: Collection[str] = (),
) -> NDArray[np.intp]:
    held_out_hashes = dict.fromkeys(kept, False)
    chosen: list[int] = []
    start = 0
    for name, count in zip(classes, counts, strict=True):
        copies: dict[str, list[int]] = defaultdict(list)
        for index in range(start, start + count):
            copies[hashes[index]].append(index)
        start += count
        wanted = min(max(1, round(count * fraction)), count - 1)
        # duplicates in an earlier class have already determined the side
        held_out = [index for sha256, indices in copies.items() if held_out_hashes.get(sha256) for index in indices]
        undecided = [sha256 for sha256 in copies if sha256 not in held_out_hashes]
        for sha256 in sorted(undecided, key=lambda sha256: _rank(seed, sha256)):
            fits = len(held_out) + len(copies[sha256]) <= wanted
            held_out_hashes[sha256] = fits
            if fits:
                held_out += copies[sha256]
        if not 0 < len(held_out) < count:
            raise DataError(
                f"class {name} has too few different training images ({len(copies)} of {count}) to hold some out for "
                f"{purpose} and train on the others. Add images to this class."
            )
        chosen += held_out
    return np.array(sorted(chosen), dtype=np.intp)


def _rank(seed: str, sha256: str) -> bytes:
    return hashlib.sha256(f"{seed} {sha256}".encode()).digest()
