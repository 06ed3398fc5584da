"""Batches of a data set for `model.fit`, as uint8. If JAX trains on a GPU, they are gathered on the GPU.

For TensorFlow, see `tensorflow_input`.
"""

import functools
import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.training.activities import Activities, Activity
from tuner.training.distribution import even_batch_size, even_count

ON_DEVICE_BYTES = 4 << 30
"""Maximum size of a data set that is kept in a GPU's memory, because models need memory, too. CIFAKE has 0.3 GB."""


class SeededBatches(keras.utils.PyDataset):
    """Batches of samples that are selected by their indices.

    With a seed, the samples are shuffled in each epoch. The order depends only on (seed, epoch), so that an epoch has
    the same batches even if the previous epochs were trained in another process.

    If each batch is divided into several parts, an epoch with a seed leaves out samples that cannot be divided equally,
    other ones in each epoch. Without a seed, batches may be smaller instead.
    """

    def __init__(
        self, count: int, batch_size: int, activities: Activities, seed: int | None = None, parts: int = 1
    ) -> None:
        super().__init__()
        self.count = count if seed is None else even_count(count, batch_size, parts)
        """Number of samples per epoch."""
        self._all = count
        self._activities = activities
        self.size = batch_size if seed is not None else even_batch_size(count, batch_size, parts) or batch_size
        """Number of samples per batch."""
        self._seed = seed
        self._order: NDArray[np.int64] | None = None

    def begin(self, epoch: int) -> None:
        """Shuffle the samples for an epoch, if there is a seed."""
        if self._seed is not None:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._all)[: self.count]

    def order(self) -> NDArray[np.int64]:
        """Return the indices of the samples in the order of the epoch that has begun."""
        return np.arange(self.count) if self._order is None else self._order

    def __len__(self) -> int:
        return math.ceil(self.count / self.size)

    def __getitem__(self, index: int) -> Any:
        part = slice(index * self.size, (index + 1) * self.size)
        indices = part if self._order is None else self._order[part]
        with self._activities.during(Activity.INPUT):
            return self._gather(indices)

    def _gather(self, indices: slice | NDArray[np.int64]) -> Any:
        """Return the samples with these indices."""
        raise NotImplementedError


class Batches(SeededBatches):
    """Batches of memory-mapped images as uint8. The model itself converts them to floats."""

    def __init__(
        self, arrays: Arrays, batch_size: int, activities: Activities, seed: int | None = None, parts: int = 1
    ) -> None:
        super().__init__(len(arrays.labels), batch_size, activities, seed, parts)
        self.arrays = arrays
        """The samples."""
        self._on_device = _on_device(arrays) if _fits_on_device(arrays) else None

    def _gather(self, indices: slice | NDArray[np.int64]) -> tuple[Any, Any]:
        if self._on_device is not None:
            return self._on_device.gather(indices)
        return self.arrays.images[indices], self.arrays.labels[indices]


class _OnDevice:
    """A data set in the memory of JAX's GPU."""

    def __init__(self, arrays: Arrays) -> None:
        import jax

        self._images = jax.device_put(np.asarray(arrays.images))
        self._labels = jax.device_put(np.asarray(arrays.labels))
        self._compiled = jax.jit(lambda images, labels, indices: (images[indices], labels[indices]))

    def gather(self, indices: slice | NDArray[np.int64]) -> tuple[Any, Any]:
        """Return images and labels by index, without waiting for the GPU to compute them."""
        if isinstance(indices, slice):
            indices = np.arange(indices.start, min(indices.stop, len(self._labels)))
        batch: tuple[Any, Any] = self._compiled(self._images, self._labels, indices.astype(np.int32))
        return batch


@functools.lru_cache(maxsize=2)  # training and validation images are moved once per process, not once per trial
def _on_device(arrays: Arrays) -> _OnDevice:
    return _OnDevice(arrays)


def _fits_on_device(arrays: Arrays) -> bool:
    if keras.backend.backend() != "jax" or arrays.images.nbytes > ON_DEVICE_BYTES:
        return False
    import jax

    return bool(jax.default_backend() == "gpu")
