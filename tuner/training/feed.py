"""A feed: the data of one training, in the forms that `model.fit` and a space's own `fit` take."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from tuner.data.arrays import TrainingData
from tuner.training.activities import Activities
from tuner.training.batches import Batches
from tuner.training.tensorflow_input import gpu_for, tensorflow_input


@dataclass(frozen=True)
class FitArguments:
    """The data among the arguments of a space's own `fit`, as Keras Tuner passes it on."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Feed:
    """The data of one training."""

    train: Any
    """A PyDataset or a tf.data.Dataset, which `model.fit` must not shuffle."""
    validation: Any
    own_fit: FitArguments
    steps: int | None
    """Number of batches per epoch; None if unknown."""
    samples: int | None
    """Number of samples per epoch; None if unknown."""
    begin: Callable[[int], None]
    """Called with each epoch before its first batch."""
    inputs: Callable[[int], Iterable[Any]]
    """Returns the inputs of the model in the first batches, at most as many as given."""
    attached: Callable[[keras.Model], AbstractContextManager[None]] = nullcontext
    """Lets the model be trained on `train` for the duration of the block."""


def batch_feed(
    batches: Any, validation: Any, own_fit: FitArguments, *, steps: int | None, samples: int | None = None
) -> Feed:
    """Return the feed for a PyDataset whose method `begin` prepares it for an epoch."""
    return Feed(
        train=batches,
        validation=validation,
        own_fit=own_fit,
        steps=steps,
        samples=samples,
        begin=batches.begin,
        inputs=lambda count: (batches[step][0] for step in range(count)),
    )


def image_feed(data: TrainingData, batch_size: int, activities: Activities, seed: int, parts: int = 1) -> Feed:
    """Return the feed of a training on images. Each batch can be divided into a number of parts."""
    batches = Batches(data.train, batch_size, activities, seed, parts)
    # a user's own fit gets arrays, as from Keras Tuner, and chooses its own batch size
    own_fit = FitArguments(
        (data.train.images, data.train.labels), {"validation_data": (data.validation.images, data.validation.labels)}
    )
    validation = Batches(data.validation, batch_size, activities, parts=parts)
    feed = batch_feed(batches, validation, own_fit, steps=len(batches), samples=batches.count)
    if keras.backend.backend() != "tensorflow":
        return feed
    device = gpu_for(data.train, data.validation) if parts == 1 else None
    pipelines = tensorflow_input(batches, validation, device)
    return replace(feed, train=pipelines.train, validation=pipelines.validation, attached=pipelines.attached)
