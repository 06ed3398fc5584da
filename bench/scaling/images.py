"""Cost of a data set by its number of images: packing it, and the time until a worker's first batch.

The images are repetitions of CIFAKE's, or of noise like them. Each file has a unique comment, so that no two are equal.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.chief.processes import ROOT
from bench.pack import make_source, pack_in_a_child
from bench.scaling.rows import medians

TRAIN_SHARE = 5 / 6  # as in CIFAKE


@dataclass(frozen=True)
class Row:
    """Measurements of one size."""

    size: int
    pack_s: float
    again_s: float
    """Packing a data set that is already packed."""
    pack_mib: float
    """Peak memory of all packing processes together."""
    first_batch_s: float
    """Time from imports to the first batch, for the first worker of a node, which writes the images to the disk."""
    next_first_batch_s: float
    """The same for any later worker on that node."""
    batch_ms: float
    memory_mib: float
    """Peak memory of the first worker, without its imports and without mapped files, which are shared."""


def measure(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, object]:
    """Return the medians by size."""
    source = make_source(folder)
    rows = []
    for size in sizes:
        archive = folder / f"{size}.zip"
        replicate(source, archive, size)
        of_size = []
        for number in range(rounds):
            place = folder / f"{size}-{number}"
            place.mkdir()
            of_size.append(row := one(archive, place, size))
            shutil.rmtree(place)
            print(
                f"{size:,} images: packed in {row.pack_s:.1f} s, first batch after {row.first_batch_s:.2f} s",
                flush=True,
            )
        archive.unlink()
        rows.append(asdict(medians(of_size)))
    return {"rows": rows}


def one(archive: Path, folder: Path, size: int) -> Row:
    """Pack an archive, and open the data set twice."""
    bucket = folder / "bucket"
    packed = pack_in_a_child(archive, bucket)
    assert packed["images"] == size
    first, later = (_open(bucket, str(packed["digest"]), folder / "cache") for _ in range(2))
    return Row(
        size=size,
        pack_s=packed["seconds"],
        again_s=packed["again_seconds"],
        pack_mib=packed["peak_mib"],
        first_batch_s=first["first_batch_s"],
        next_first_batch_s=later["first_batch_s"],
        batch_ms=later["batch_ms"],
        memory_mib=first["memory_mib"],
    )


def replicate(source: Path, target: Path, size: int) -> None:
    """Write an archive of `size` images by repeating those of another archive."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copies:
        numbers, trained = itertools.count(), round(size * TRAIN_SHARE)
        for split in ("train", "test"):
            files = [name for name in archive.namelist() if f"{split}/" in name and name.endswith(".jpg")]
            jpegs = [(name.split("/")[-2], archive.read(name)) for name in files]
            wanted = trained if split == "train" else size - trained
            for label, jpeg in itertools.islice(_spread(jpegs), wanted):
                number = next(numbers)
                copies.writestr(f"{split}/{label}/{number:07d}.jpg", with_comment(jpeg, number))


def with_comment(jpeg: bytes, number: int) -> bytes:
    """Return the same image as a different file, by adding a comment."""
    comment = number.to_bytes(8, "big")
    return jpeg[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment + jpeg[2:]


def _spread(jpegs: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Repeat the images forever with alternating classes; the input is ordered by class."""
    half = len(jpegs) // 2
    for number in itertools.count():
        yield jpegs[(number // 2 + number % 2 * half) % len(jpegs)]


def _open(bucket: Path, digest: str, cache: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.scaling.opening", str(bucket), digest, str(cache)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measurements: dict[str, float] = json.loads(done.stdout)
    return measurements
