"""Select the validation images: the training images that are held out to compare trials."""

import hashlib
from collections import defaultdict

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
    held_out_hashes: dict[str, bool] = {}
    chosen: list[int] = []
    start = 0
    for name, count in zip(manifest.classes, split.counts, strict=True):
        copies: dict[str, list[int]] = defaultdict(list)
        for index in range(start, start + count):
            copies[split.sha256[index]].append(index)
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
                "validation and train on the others. Add images to this class."
            )
        chosen += held_out
    return np.array(sorted(chosen), dtype=np.intp)


def _rank(seed: int, sha256: str) -> bytes:
    return hashlib.sha256(f"{seed} {sha256}".encode()).digest()
