"""Batches of a data set for `model.fit`: gathered as uint8, and where JAX trains on a GPU, gathered there."""

import functools
import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.training.activities import Activities, Activity

ON_DEVICE_BYTES = 4 << 30
"""A larger data set stays in the host's memory: a GPU's is for models. CIFAKE has 0.3 GB."""


class Batches(keras.utils.PyDataset):
    """Batches of memory-mapped arrays, as uint8; the model itself turns them into floats.

    With a seed they are shuffled anew in each epoch, by (seed, epoch) alone: an epoch has the same batches
    whether or not the epochs before it were trained in this process.
    """

    def __init__(self, arrays: Arrays, batch_size: int, activities: Activities, seed: int | None = None) -> None:
        super().__init__()
        self._activities = activities
        self._arrays = arrays
        self._on_device = _moved(arrays) if _belongs_on_device(arrays) else None
        self._batch_size = batch_size
        self._seed = seed
        self._order: NDArray[np.int64] | None = None

    def begin(self, epoch: int) -> None:
        """Shuffle for an epoch."""
        if self._seed is not None:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self.images)

    @property
    def images(self) -> int:
        """How many images an epoch has."""
        return len(self._arrays.labels)

    def __len__(self) -> int:
        return math.ceil(self.images / self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        chosen = part if self._order is None else self._order[part]
        with self._activities.during(Activity.INPUT):
            return self._gathered(chosen)

    def _gathered(self, chosen: slice | NDArray[np.int64]) -> tuple[Any, Any]:
        if self._on_device is not None:
            return self._on_device.gathered(chosen)
        return self._arrays.images[chosen], self._arrays.labels[chosen]


class _OnDevice:
    """A data set in the memory of JAX's GPU."""

    def __init__(self, arrays: Arrays) -> None:
        import jax

        self._images = jax.device_put(np.asarray(arrays.images))
        self._labels = jax.device_put(np.asarray(arrays.labels))
        self._gather = jax.jit(lambda images, labels, chosen: (images[chosen], labels[chosen]))

    def gathered(self, chosen: slice | NDArray[np.int64]) -> tuple[Any, Any]:
        """Return the images and labels chosen, which are on their way: nothing here waits for the GPU."""
        numbers = np.arange(chosen.start, min(chosen.stop, len(self._labels))) if isinstance(chosen, slice) else chosen
        found: tuple[Any, Any] = self._gather(self._images, self._labels, numbers.astype(np.int32))
        return found


@functools.lru_cache(maxsize=2)  # training and validation images are moved once a process, not once a trial
def _moved(arrays: Arrays) -> _OnDevice:
    return _OnDevice(arrays)


def _belongs_on_device(arrays: Arrays) -> bool:
    if keras.backend.backend() != "jax" or arrays.images.nbytes > ON_DEVICE_BYTES:
        return False
    import jax

    return bool(jax.default_backend() == "gpu")
