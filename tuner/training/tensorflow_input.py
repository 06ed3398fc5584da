"""Batches of images for TensorFlow that need no Python in each step: gathered on the GPU, or by tf.data on the host.

Keras's own adapter of a PyDataset calls Python for each batch, in a thread that competes with the training loop.
"""

import functools
import mmap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.data.arrays import Arrays
from tuner.training.batches import ON_DEVICE_BYTES, Batches

AHEAD = 4
"""Number of batches that tf.data gathers in advance. It must be given, because nothing is tuned (`untuned_input`)."""
ALIGNMENT = 64
"""Alignment in bytes that TensorFlow's kernels require."""


@dataclass(frozen=True)
class TensorFlowInput:
    """The input of one training."""

    train: Any
    """A tf.data.Dataset of the batches that the PyDataset would give, or of their indices."""
    validation: Any
    attached: Callable[[keras.Model], AbstractContextManager[None]]
    """Lets a model be trained on the pipelines for the duration of the block."""


def tensorflow_input(train: Batches, validation: Batches, device: str | None) -> TensorFlowInput:
    """Return the input for the batches of images.

    Args:
        train: Batches to train on.
        validation: Batches to validate on.
        device: Device to which the images are copied once per process; None if they stay in the files.
    """
    if device is None:
        return TensorFlowInput(_batches(train), _batches(validation), nullcontext)
    on_device = [_on_device(batches.arrays, device) for batches in (train, validation)]

    @contextmanager
    def gathering(model: keras.Model) -> Iterator[None]:
        """Let the model gather the batches whose indices it gets."""
        names = ("train_step", "test_step")
        for name, arrays in zip(names, on_device, strict=True):
            setattr(model, name, _gathering(getattr(model, name), arrays))
        try:
            yield
        finally:
            for name in names:
                delattr(model, name)
            model.train_function = model.test_function = None

    return TensorFlowInput(_indices(train), _indices(validation), gathering)


def gpu_for(*arrays: Arrays) -> str | None:
    """Return the GPU on which the arrays are kept; None without a GPU, or if they would use too much of its memory."""
    import tensorflow

    gpus = tensorflow.config.list_logical_devices("GPU")
    if not gpus or sum(each.images.nbytes for each in arrays) > ON_DEVICE_BYTES:
        return None
    return str(gpus[0].name)


@dataclass(frozen=True)
class _Tensors:
    images: Any
    labels: Any

    def gather(self, indices: Any) -> tuple[Any, Any]:
        import tensorflow

        return tensorflow.gather(self.images, indices), tensorflow.gather(self.labels, indices)


def _gathering(step: Callable[[Any], Any], arrays: _Tensors) -> Callable[[Any], Any]:
    return lambda indices: step(arrays.gather(indices))


def _batches(batches: Batches) -> Any:
    import tensorflow

    tensors = _in_memory(batches.arrays)
    pipeline = _indices(batches).map(tensors.gather, num_parallel_calls=1).prefetch(AHEAD)
    options = tensorflow.data.Options()  # a pipeline that is optimized copies all images first
    options.autotune.enabled = options.experimental_optimization.apply_default_optimizations = False
    return pipeline.with_options(options)


def _indices(batches: Batches) -> Any:
    """Return a tf.data.Dataset of the indices of each batch. Python is called once per epoch, for their order."""
    import tensorflow

    data, size = tensorflow.data, batches.size
    order = data.Dataset.from_generator(
        lambda: iter([batches.order()]), output_signature=tensorflow.TensorSpec([None], tensorflow.int64)
    )
    steps = order.flat_map(
        lambda indices: data.Dataset.range(len(batches)).map(lambda step: indices[step * size : (step + 1) * size])
    )
    return steps.apply(data.experimental.assert_cardinality(len(batches)))


@functools.lru_cache(maxsize=2)  # training and validation images are copied once per process, not once per trial
def _on_device(arrays: Arrays, device: str) -> _Tensors:
    import tensorflow

    with tensorflow.device(device):
        return _Tensors(tensorflow.constant(arrays.images), tensorflow.constant(arrays.labels))


@functools.lru_cache(maxsize=2)
def _in_memory(arrays: Arrays) -> _Tensors:
    import tensorflow

    return _Tensors(_mapped(arrays.images), tensorflow.constant(arrays.labels))


def _mapped(images: NDArray[np.uint8]) -> Any:
    """Return a tensor of the images that shares the pages of their file, as all workers of a machine do.

    An array without a file is copied.
    """
    import tensorflow

    if not isinstance(images, np.memmap) or not images.flags.c_contiguous or images.ctypes.data % ALIGNMENT:
        return tensorflow.constant(images)
    mapped: Any = images
    # a part of a mapped array says where the whole array begins in the file
    mapping_begins = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY
    offset = mapping_begins + mapped.ctypes.data - np.frombuffer(mapped._mmap, np.uint8).ctypes.data
    try:  # DLPack cannot say that an array is read-only. Nothing writes to it, and no write would reach the file.
        private = np.memmap(mapped.filename, mapped.dtype, mode="c", offset=offset, shape=mapped.shape)
    except (OSError, TypeError):  # the file was deleted, or has no name
        return tensorflow.constant(images)
    return tensorflow.experimental.dlpack.from_dlpack(np.asarray(private).__dlpack__())
