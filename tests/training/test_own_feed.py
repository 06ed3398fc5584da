"""The batches of a space's own data depend on (seed, epoch) only, not on the process or on earlier trials."""

from typing import Any

import keras
import numpy as np
import pytest

from tuner.spaces.own_data import OwnPart, OwnTrainingData
from tuner.training.activities import Activities
from tuner.training.feed import Feed
from tuner.training.own_feed import own_feed

COUNT = 10
X, Y = np.arange(COUNT), 10 * np.arange(COUNT)
ARRAYS = OwnPart(({"number": X}, Y, np.ones(COUNT)), COUNT, None)


class Shuffling(keras.utils.PyDataset):
    """Shuffles its samples in place, as Keras's documentation shows."""

    def __init__(self) -> None:
        super().__init__()
        self.order = np.arange(COUNT)

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        chosen = self.order[2 * index : 2 * index + 2]
        return X[chosen], Y[chosen]

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.order)


def feed_of(part: OwnPart) -> Feed:
    return own_feed(OwnTrainingData(part, ARRAYS), 4, Activities(), seed=3)


def epoch(feed: Feed, number: int) -> list[Any]:
    """Return the labels of an epoch's batches."""
    feed.begin(number)
    return [feed.train[step][1].tolist() for step in range(len(feed.train))]


@pytest.mark.parametrize("part", [ARRAYS, OwnPart(Shuffling(), None, 5)], ids=["arrays", "PyDataset"])
def test_a_resumed_training_gets_the_batches_of_an_uninterrupted_one(part: OwnPart) -> None:
    whole = feed_of(part)
    epochs = [epoch(whole, number) for number in range(4)]
    assert len({str(batches) for batches in epochs}) == 4, "every epoch has its own order"
    assert all(sorted(np.concatenate(batches)) == Y.tolist() for batches in epochs)
    resumed = feed_of(part)
    np.random.seed(99)
    assert [epoch(resumed, number) for number in (2, 3)] == epochs[2:]


def test_a_trial_does_not_see_what_an_earlier_trial_did_to_a_dataset() -> None:
    dataset = Shuffling()
    first = feed_of(OwnPart(dataset, None, 5))
    epochs = [epoch(first, number) for number in range(3)]
    assert dataset.order.tolist() == list(range(COUNT))
    second = feed_of(OwnPart(dataset, None, 5))
    assert [epoch(second, number) for number in range(3)] == epochs


def test_every_epoch_is_validated_on_the_same_batches() -> None:
    """Otherwise, the last digits of the objective would depend on the number of validations in the process."""
    dataset = Shuffling()
    validation = own_feed(OwnTrainingData(ARRAYS, OwnPart(dataset, None, 5)), 4, Activities(), seed=3).validation
    batches = [validation[step][1].tolist() for step in range(5)]
    validation.on_epoch_end()  # as Keras calls it
    assert [validation[step][1].tolist() for step in range(5)] == batches
    assert sorted(np.concatenate(batches)) == Y.tolist()


def test_large_arrays_of_a_dataset_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.spaces.own_data.SHARED_BYTES", X.nbytes)
    dataset = Shuffling()
    dataset.pixels = X
    dataset.order = np.arange(COUNT - 1)
    copied = feed_of(OwnPart(dataset, None, 5)).train._dataset
    assert copied.pixels is X
    assert copied.order is not dataset.order


def test_batches_keep_the_structure_of_the_arrays_and_a_last_small_batch() -> None:
    feed = feed_of(ARRAYS)
    inputs, labels, weights = feed.train[2]
    assert inputs["number"].shape == labels.shape == weights.shape == (2,)
    assert (feed.steps, feed.samples, len(list(feed.inputs(2)))) == (3, COUNT, 2)
    assert [batch[1].tolist() for batch in (feed.validation[0], feed.validation[2])] == [[0, 10, 20, 30], [80, 90]]


def test_a_spaces_own_fit_gets_arrays_or_the_pipeline_as_in_keras_tuner() -> None:
    arrays = feed_of(ARRAYS).own_fit
    assert arrays.positional[0]["number"] is X
    assert arrays.named.keys() == {"sample_weight", "validation_data"}
    pipeline = feed_of(OwnPart(Shuffling(), None, 5)).own_fit
    assert len(pipeline.positional) == 1
    assert pipeline.named == {"validation_data": ARRAYS.data}
