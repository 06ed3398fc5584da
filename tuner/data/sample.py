"""The built-in sample: images generated with integer arithmetic only, so that every machine makes the same bytes.

Each image is a smooth random background with noise, and has a window of random position, size and strength. In FAKE
images, the window contains a fine regular weave, like the traces that upsampling leaves in generated images. In REAL
images, it contains noise of the same strength, so that contrast does not distinguish the classes. A slight difference
in colour, far smaller than the difference between images, helps small networks to begin learning. Weak weaves disappear
in the noise, so no model classifies all images correctly.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tuner.data.source import Entries, File

SIZE = 32
CLASSES = ("FAKE", "REAL")
COUNTS = {"train": 1000, "test": 200}
"""Number of images of each class."""

Integers = NDArray[np.int32]

_HEADER = b"P6 %d %d 255\n" % (SIZE, SIZE)  # a binary PPM, the simplest format that image libraries read
_FILE_BYTES = len(_HEADER) + SIZE * SIZE * 3
_BRIGHTNESS = (16, 136)  # low, so that a network that does not normalise its input learns
_TINT = (5, -5, 5)
_GRID = 5  # points of the random background per side
_NOISE = 14
_STRENGTH = (5, 28)
_WINDOW = (16, 33)
_STREAMS = 16


@dataclass(frozen=True)
class SampleSource:
    """The sample as a source of files."""

    @property
    def name(self) -> str:
        """Name in messages and in the manifest."""
        return "the built-in sample"

    def likely_files(self) -> int:
        """Return the number of files."""
        return sum(COUNTS.values()) * len(CLASSES)

    def entries(self) -> Entries:
        """List the files that `reader` generates."""
        files = (
            File(f"{split}/{name}/{index:04d}.ppm", _FILE_BYTES)
            for split, count in COUNTS.items()
            for name in CLASSES
            for index in range(count)
        )
        return Entries(tuple(files), frozenset())

    @contextmanager
    def reader(self) -> Iterator[Callable[[File], bytes]]:
        """Yield a function that generates a file."""

        def read(file: File) -> bytes:
            split, name, number = file.path.removesuffix(".ppm").split("/")
            image: NDArray[np.uint8] = _images(split, name)[int(number)]
            return _HEADER + image.tobytes()

        yield read


@lru_cache(maxsize=4)
def _images(split: str, name: str) -> NDArray[np.uint8]:
    """Return (count, 32, 32, 3) uint8 images of one class of one split."""
    return generate(COUNTS[split], CLASSES.index(name) == 0, seed=1 + 2 * (split == "test") + CLASSES.index(name))


def generate(count: int, fake: bool, seed: int) -> NDArray[np.uint8]:
    """Return (count, 32, 32, 3) uint8 images, the same for the same arguments on every machine."""
    image = _background(count, seed) + _noise(count, seed)
    strength = _between(count, *_STRENGTH, seed, stream=2)[:, None, None]
    texture = _weave(count, seed) if fake else _random_signs(count, seed)
    image += (texture * strength * _window(count, seed))[..., None]
    image += np.array(_TINT if fake else [-tint for tint in _TINT], np.int32)
    pixels: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return pixels


def _background(count: int, seed: int) -> Integers:
    """Return random colours on a coarse grid, interpolated between the grid's points."""
    grid = _between(count * _GRID * _GRID * 3, *_BRIGHTNESS, seed, stream=3).reshape(count, _GRID, _GRID, 3)
    step = SIZE // (_GRID - 1)
    position = np.arange(SIZE, dtype=np.int32)
    low, weight = position // step, position % step
    rows = grid[:, low] * (step - weight)[:, None, None] + grid[:, low + 1] * weight[:, None, None]
    columns = rows[:, :, low] * (step - weight)[:, None] + rows[:, :, low + 1] * weight[:, None]
    return np.floor_divide(columns, step * step, dtype=np.int32)


def _weave(count: int, seed: int) -> Integers:
    """Return (count, 32, 32) signs, -1 and 1, that alternate along rows, columns or both."""
    kind = _between(count, 0, 3, seed, stream=4)[:, None, None]
    y, x = np.arange(SIZE, dtype=np.int32)[:, None], np.arange(SIZE, dtype=np.int32)
    cell: Integers = np.where(kind == 0, y, np.where(kind == 1, x, y + x))
    return np.int32(1) - cell % 2 * 2


def _random_signs(count: int, seed: int) -> Integers:
    return 1 - 2 * _between(count * SIZE * SIZE, 0, 2, seed, stream=6).reshape(count, SIZE, SIZE)


def _window(count: int, seed: int) -> Integers:
    """Return (count, 32, 32) masks, which are 1 within a random square of each image and 0 outside."""
    side = _between(count, *_WINDOW, seed, stream=7)
    top = _between(count, 0, SIZE, seed, stream=8) * (SIZE - side) // SIZE
    left = _between(count, 0, SIZE, seed, stream=9) * (SIZE - side) // SIZE
    position = np.arange(SIZE, dtype=np.int32)
    rows = (position >= top[:, None]) & (position < (top + side)[:, None])
    columns = (position >= left[:, None]) & (position < (left + side)[:, None])
    return (rows[:, :, None] & columns[:, None, :]).astype(np.int32)


def _noise(count: int, seed: int) -> Integers:
    """Return (count, 32, 32, 3) noise of triangular distribution, the scaled sum of two uniform 10-bit numbers."""
    bits = _random(count * SIZE * SIZE, seed, stream=1)
    noise = np.empty((len(bits), 3), np.int32)
    for channel in range(3):
        first = (bits >> np.uint64(20 * channel)) & np.uint64(1023)
        second = (bits >> np.uint64(20 * channel + 10)) & np.uint64(1023)
        noise[:, channel] = ((first + second) * np.uint64(_NOISE)) >> np.uint64(10)
    return noise.reshape(count, SIZE, SIZE, 3) - np.int32(_NOISE)


def _between(count: int, low: int, high: int, seed: int, stream: int) -> Integers:
    """Return `count` integers from `low` to `high` - 1."""
    bits = _random(count, seed, stream) >> np.uint64(32)
    return ((bits * np.uint64(high - low)) >> np.uint64(32)).astype(np.int32) + np.int32(low)


def _random(count: int, seed: int, stream: int) -> NDArray[np.uint64]:
    """Return random 64-bit numbers of SplitMix64 (Steele, Lea, Flood 2014), whose state is a counter.

    NumPy's own generators are not used, because they may change their streams between versions.
    """
    z = np.arange(1, count + 1, dtype=np.uint64) + np.uint64((seed * _STREAMS + stream) << 40)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
