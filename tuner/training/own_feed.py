"""Feeds of a space's own data: arrays, a PyDataset or a tf.data.Dataset."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tuner.spaces.own_data import OwnPart, OwnTrainingData, seed_generators
from tuner.training.activities import Activities, Activity
from tuner.training.batches import SeededBatches
from tuner.training.feed import Feed, FitArguments, batch_feed


def own_feed(data: OwnTrainingData, batch_size: int, activities: Activities, seed: int, parts: int = 1) -> Feed:
    """Return the feed of one training. Batches of arrays can be divided into a number of parts."""
    train, validation = data.train.as_returned(), data.validation.as_returned()
    if isinstance(validation.data, keras.utils.PyDataset):
        validation = replace(validation, data=_OrderedBatches(validation.data, activities))
    batched = (
        _ArrayBatches(validation, batch_size, activities, None, parts) if validation.is_arrays else validation.data
    )
    if train.is_arrays:
        batches = _ArrayBatches(train, batch_size, activities, seed, parts)
        own_fit = _arguments(train, validation)
        return batch_feed(batches, batched, own_fit, steps=len(batches), samples=batches.count)
    if isinstance(train.data, keras.utils.PyDataset):
        ordered = _OrderedBatches(train.data, activities, seed)
        own_fit = _arguments(replace(train, data=ordered), validation)
        return batch_feed(ordered, batched, own_fit, steps=train.batches)
    return Feed(
        train=train.data,
        validation=batched,
        own_fit=_arguments(train, validation),
        steps=train.batches,
        samples=None,
        begin=lambda epoch: None,
        inputs=lambda count: (batch[0] for batch in train.data.take(count).as_numpy_iterator()),
    )


def _arguments(train: OwnPart, validation: OwnPart) -> FitArguments:
    """Return what a space's own `fit` gets: arrays as x, y and sample_weight, or a pipeline as x."""
    if not train.is_arrays:
        return FitArguments((train.data,), {"validation_data": validation.data})
    x, y, *weights = train.data
    named = {"sample_weight": weights[0]} if weights else {}
    return FitArguments((x, y), {**named, "validation_data": validation.data})


class _ArrayBatches(SeededBatches):
    """Batches of a space's own arrays."""

    def __init__(self, part: OwnPart, batch_size: int, activities: Activities, seed: int | None, parts: int) -> None:
        assert part.count is not None
        super().__init__(part.count, batch_size, activities, seed, parts)
        self._arrays = part.data

    def _gather(self, indices: slice | NDArray[np.int64]) -> Any:
        return keras.tree.map_structure(lambda array: array[indices], self._arrays)


class _OrderedBatches(keras.utils.PyDataset):
    """A space's own PyDataset. With a seed, its batches are shuffled in each epoch as Keras does by default.

    Keras shuffles with a random state that a resumed training does not have. Here, the order depends only on (seed,
    epoch). So does the state of the dataset: before an epoch, its `on_epoch_begin` and `on_epoch_end` have been called
    for each earlier epoch, with random generators seeded by (seed, epoch), also if another process trained these.

    Without a seed, the dataset stays as the space returned it, so that all epochs are validated on the same batches.
    """

    def __init__(self, dataset: keras.utils.PyDataset, activities: Activities, seed: int | None = None) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._activities = activities
        self._seed = seed
        self._begun = 0
        """Number of epochs that have begun for the dataset."""
        self._order: NDArray[np.int64] | None = None

    def begin(self, epoch: int) -> None:
        """Bring the dataset into its state of this epoch, and shuffle its batches, if there is a seed."""
        if self._seed is None:
            return
        for next_epoch in range(self._begun, epoch + 1):
            seed_generators((self._seed, next_epoch))
            if next_epoch:
                self._dataset.on_epoch_end()
            self._dataset.on_epoch_begin()
        self._begun = max(self._begun, epoch + 1)
        self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self))

    def __len__(self) -> int:
        return int(self._dataset.num_batches)

    def __getitem__(self, index: int) -> Any:
        with self._activities.during(Activity.INPUT):
            return self._dataset[index if self._order is None else int(self._order[index])]
