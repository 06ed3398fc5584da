"""Data-parallel training of one model on several devices, by Keras's own means.

With JAX this is `keras.distribution.DataParallel`, with TensorFlow `tf.distribute.MirroredStrategy`. Each batch is
divided among the devices, and each device has all weights.
"""

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Any, Literal

import keras

log = logging.getLogger(__name__)

Devices = int | Literal["auto"]
"""Number of devices to train on; auto for all that are visible."""


class OwnStrategyError(Exception):
    """The space's `build` chooses a strategy of TensorFlow itself, which must not be nested in another one."""


def replicas_for(devices: Devices, batch_size: int) -> int:
    """Return the number of devices to train on: the largest one that divides the batch, of those wanted and visible.

    It is 1 if the space has chosen a distribution itself, which is then left alone.
    """
    if is_distributed():
        return 1
    visible = len(keras.distribution.list_devices())
    wanted = visible if devices == "auto" else devices
    if wanted > visible:
        _warn(
            f"training.devices is {wanted}, but the number of devices that this process sees is {visible}. Lower "
            "training.devices, or give each worker more GPUs (workers.gpus of the chart, or a smaller --workers of run)"
        )
    number = next(n for n in range(min(wanted, visible), 0, -1) if batch_size % n == 0)
    if number < min(wanted, visible):
        _warn(f"a batch of {batch_size} is divided among {number} of {min(wanted, visible)} devices. Choose a multiple")
    return number


@functools.cache  # once per process, not once per trial
def _warn(message: str) -> None:
    log.warning(message)


def is_distributed() -> bool:
    """Return whether a distribution is in force already."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        return bool(tensorflow.distribute.has_strategy())
    return keras.distribution.distribution() is not None


@contextlib.contextmanager
def distributed(replicas: int) -> Iterator[None]:
    """Let models that are built and trained in the block use a number of devices. 1 changes nothing.

    Raises OwnStrategyError if the block enters another strategy of TensorFlow.
    """
    if keras.backend.backend() == "jax":
        with _divided_batches():
            if replicas == 1:
                yield
                return
            keras.distribution.set_distribution(_data_parallel(replicas))
            try:
                yield
            finally:
                keras.distribution.set_distribution(None)
    elif replicas == 1:
        yield
    else:
        with _mirrored(replicas).scope():
            try:
                yield
            except RuntimeError as error:
                if "Mixing different tf.distribute.Strategy" in str(error):
                    raise OwnStrategyError from error
                raise


@functools.cache  # creating it takes seconds with several GPUs
def _mirrored(replicas: int) -> Any:
    import tensorflow

    return tensorflow.distribute.MirroredStrategy(keras.distribution.list_devices()[:replicas])


@functools.cache
def _data_parallel(replicas: int) -> Any:
    return keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:replicas])


@contextlib.contextmanager
def _divided_batches() -> Iterator[None]:
    """Give each device the whole of a batch that cannot be divided equally, such as the last one of an epoch.

    Keras divides all batches, also for a distribution that a space has chosen, and JAX refuses then. What is computed
    of a batch does not depend on its division.
    """
    from keras.src.backend.jax import distribution_lib

    divide = distribution_lib.distribute_data_input

    def divide_or_copy(batch: Any, layout: Any, *more: Any, **named: Any) -> Any:
        import jax

        sharding = getattr(layout, "backend_layout", layout)
        devices = getattr(sharding, "mesh", None)
        if devices is None or not batch.shape or batch.shape[0] % devices.size == 0:
            return divide(batch, layout, *more, **named)
        return jax.device_put(batch, jax.sharding.NamedSharding(devices, jax.sharding.PartitionSpec()))

    distribution_lib.distribute_data_input = divide_or_copy
    try:
        yield
    finally:
        distribution_lib.distribute_data_input = divide


def even_count(count: int, batch_size: int, parts: int) -> int:
    """Return the number of samples in an epoch of which each batch can be divided into parts of equal size.

    TensorFlow averages the gradients of the parts. Those of unequal parts would not be the gradient of the batch. Of a
    part of one sample, Keras 3.15 computes wrong losses.
    """
    rest = count % batch_size
    kept = rest - rest % parts
    return count - rest + (0 if parts > 1 and kept == parts else kept)


def even_batch_size(count: int, batch_size: int, parts: int) -> int | None:
    """Return the size of batches of which each has at least two samples for each part; None if there is none.

    For samples without gradients, the sizes of the parts may differ, but no sample may be left out. The size is the
    largest multiple of `parts` up to `batch_size`.
    """
    if parts == 1:
        return batch_size
    sizes = range(batch_size - batch_size % parts, parts, -parts)
    return next((size for size in sizes if _smallest_part(count % size or size, parts) > 1), None)


def _smallest_part(batch: int, parts: int) -> int:
    """Return the size of the last part, as TensorFlow divides a batch."""
    return batch - (parts - 1) * -(-batch // parts)
