"""TensorFlow's input: the batches of the PyDataset, bit for bit, from the file or gathered on the device."""

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tests.support.listeners import QuietListener
from tuner.data.arrays import Arrays, TrainingData
from tuner.training import feed as feed_module
from tuner.training.activities import Activities
from tuner.training.batches import Batches
from tuner.training.feed import image_feed
from tuner.training.loop import Task, train
from tuner.training.tensorflow_input import _mapped, gpu_for

COUNT, BATCH, SIDE = 50, 8, 4
CPU = "/device:CPU:0"


def in_a_file(folder: Path, count: int, dtype: type = np.uint8) -> Arrays:
    """Return images that are memory-mapped, as a worker's are."""
    images = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    np.save(folder / f"{count}.npy", images)
    return Arrays(np.load(folder / f"{count}.npy", mmap_mode="r"), (np.arange(count) % 2).astype(dtype))


@pytest.fixture
def data(tmp_path: Path) -> TrainingData:
    return TrainingData(in_a_file(tmp_path, COUNT), in_a_file(tmp_path, 21))


@pytest.fixture(params=["from the file", "on the device"])
def data_stay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the CPU be the device on which data are kept."""
    if request.param == "on the device":
        monkeypatch.setattr(feed_module, "gpu_for", lambda *arrays: CPU)
    return str(request.param)


def read(pipeline: Any) -> list[Any]:
    return list(pipeline.as_numpy_iterator())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_batches_of_each_epoch_are_those_of_the_py_dataset(tmp_path: Path, dtype: type) -> None:
    data = TrainingData(in_a_file(tmp_path, COUNT, dtype), in_a_file(tmp_path, 21, dtype))
    expected = Batches(data.train, BATCH, Activities(), seed=3)
    feed = image_feed(data, BATCH, Activities(), seed=3)
    for epoch in (0, 1, 5):
        expected.begin(epoch)
        feed.begin(epoch)
        batches = read(feed.train)
        assert len(batches) == len(expected) == len(feed.train) == feed.steps
        for number, batch in enumerate(batches):
            for part, wanted in zip(batch, expected[number], strict=True):
                assert part.dtype == wanted.dtype
                np.testing.assert_array_equal(part, wanted)
    labels = np.concatenate([labels for _, labels in read(feed.validation)])
    np.testing.assert_array_equal(labels, data.validation.labels)


def test_arrays_without_a_file_are_trained_on_too(data: TrainingData) -> None:
    loose = TrainingData(*(Arrays(np.array(part.images), part.labels) for part in (data.train, data.validation)))
    for feed, other in [(image_feed(each, BATCH, Activities(), seed=3) for each in (loose, data))]:
        feed.begin(0)
        other.begin(0)
        for batch, expected in zip(read(feed.train), read(other.train), strict=True):
            np.testing.assert_array_equal(batch[0], expected[0])


@pytest.mark.parametrize("first", [0, 1, 4, 300])
def test_a_part_of_a_mapped_array_is_read_from_its_own_place(tmp_path: Path, first: int) -> None:
    whole = in_a_file(tmp_path, 400)
    tensor = _mapped(whole.images[first:])
    np.testing.assert_array_equal(tensor.numpy(), whole.images[first:])


def test_reading_a_batch_calls_no_python(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = image_feed(data, BATCH, Activities(), seed=3)
    feed.begin(0)
    monkeypatch.setattr(Batches, "__getitem__", lambda batches, index: pytest.fail("called for a batch"))
    orders, order = [], Batches.order

    def counted(batches: Batches) -> Any:
        orders.append(order(batches))
        return orders[-1]

    monkeypatch.setattr(Batches, "order", counted)
    assert len(read(feed.train)) > 1
    assert len(orders) == 1


class Recording(QuietListener):
    """Keeps the metrics and weights of each epoch."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.model: Any = None

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        self.metrics.append(metrics)
        self.model = model


class Flat(keras_tuner.HyperModel):
    """A small model."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


class Subclassed(Flat):
    """A model that is built by its first batch."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        model = keras.Sequential(layers)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


@pytest.mark.parametrize("space", [Flat, Subclassed])
def test_a_training_computes_what_model_fit_computes_of_the_py_dataset(
    data: TrainingData, space: type[Flat], data_stay: str
) -> None:
    listener, task = Recording(), Task(keras_tuner.HyperParameters(), seed=3, batch_size=BATCH, epochs=2)
    train(space(), task, data, listener)

    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    model = space().build(keras_tuner.HyperParameters())
    batches, validation = (
        Batches(data.train, BATCH, Activities(), seed=3),
        Batches(data.validation, BATCH, Activities()),
    )
    begin = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.begin(epoch))
    batches.begin(0)
    history = model.fit(
        batches, validation_data=validation, epochs=2, shuffle=False, verbose=0, callbacks=[begin]
    ).history
    for epoch, metrics in enumerate(listener.metrics):
        assert metrics == {name: np.float32(values[epoch]) for name, values in history.items()}, data_stay
    for weights, expected in zip(listener.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_a_trained_model_is_saved_and_used_on_images_again(data: TrainingData, data_stay: str, tmp_path: Path) -> None:
    listener, task = Recording(), Task(keras_tuner.HyperParameters(), seed=3, batch_size=BATCH, epochs=1)
    train(Flat(), task, data, listener)
    listener.model.save(tmp_path / "model.keras")
    for model in (listener.model, keras.saving.load_model(tmp_path / "model.keras")):
        loss, accuracy = model.evaluate(np.array(data.validation.images), data.validation.labels, verbose=0)
        assert accuracy == pytest.approx(listener.metrics[0]["val_accuracy"])
        assert loss == pytest.approx(listener.metrics[0]["val_loss"], rel=1e-4)


def test_without_a_gpu_nothing_is_copied_to_one(data: TrainingData) -> None:
    assert gpu_for(data.train, data.validation) is None
