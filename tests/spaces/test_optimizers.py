"""The optimizers of `deep` are Keras's own in all but their name and where their settings are."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tuner.spaces.layers import optimizers
from tuner.spaces.layers.one_cycle import OneCycle

INPUTS = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
LABELS = np.arange(32) % 2
PAIRS = pytest.mark.parametrize(
    ("own", "stock"), [(optimizers.AdamW, keras.optimizers.AdamW), (optimizers.SGD, keras.optimizers.SGD)]
)


def trained(optimizer: Any, epochs: int = 2) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(optimizer(OneCycle(0.01, steps=12), weight_decay=0.1, use_ema=True), "binary_crossentropy")
    model.fit(INPUTS, LABELS, batch_size=8, epochs=epochs, verbose=0)
    return model


def state(model: keras.Model) -> list[Any]:
    """Return the values of the optimizer's variables that Keras has, too."""
    settings = {"peak", "decay"}
    return [v.numpy() for v in (*model.weights, *model.optimizer.variables) if v.path.split("/")[-1] not in settings]


@PAIRS
def test_they_train_as_keras_does(own: Any, stock: Any) -> None:
    np.testing.assert_equal(state(trained(own)), state(trained(stock)))


@PAIRS
@pytest.mark.parametrize("reverse", [False, True])
def test_checkpoints_do_not_depend_on_which_is_used(own: Any, stock: Any, reverse: bool, tmp_path: Path) -> None:
    first, second = (stock, own) if reverse else (own, stock)
    (saved := trained(first)).save(tmp_path / "model.keras")
    resumed = trained(second, epochs=0)
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "model.keras")
    assert resumed.optimizer.iterations == 8
    np.testing.assert_equal(state(resumed), state(saved))


@PAIRS
def test_a_loaded_model_has_the_settings_with_which_it_was_trained(own: Any, stock: Any, tmp_path: Path) -> None:
    trained(own).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, own)
    config = loaded.optimizer.get_config()
    assert config["weight_decay"] == 0.1
    assert config["learning_rate"]["config"]["peak"] == 0.01
    loaded.fit(INPUTS, LABELS, batch_size=8, epochs=1, initial_epoch=0, verbose=0)
    assert loaded.optimizer.iterations == 12
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0, abs=1e-9), "the cycle has ended"
