"""Averaged weights (`use_ema`): what is validated and saved is the model with them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras

from tuner.training.batches import Batches


class AveragedWeights(keras.callbacks.Callback):
    """Exchanges the weights for their average when an epoch has been trained, and back before the next.

    Where the model holds the average, the optimizer's place for the average holds the weights. So a saved model is
    the one that was validated, it needs no more to predict, and a training that goes on from it loses nothing. Unlike
    Keras's SwapEMAWeights, which forgets the weights after the last epoch and saves the wrong ones in between.

    Batch norm's statistics are those of the weights, which may be far from the average's while the learning rate is
    high: a model that had learnt was seen to guess. They are made anew, from as many batches as they remember, as for
    stochastic weight averaging (Izmailov et al., https://arxiv.org/abs/1803.05407).
    """

    def __init__(self, batches: Batches, in_model: bool) -> None:
        super().__init__()
        self._batches = batches
        self._in_model = in_model
        self._look: Callable[[Iterable[Any]], None] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Train the weights."""
        if self._in_model:
            self._exchange()

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate their average."""
        if not self._in_model:
            self._exchange()
            self._make_statistics()

    def _exchange(self) -> None:
        optimizer = self.model.optimizer
        averages = optimizer._model_variables_moving_average
        for variable, other in zip(optimizer._trainable_variables, averages, strict=True):
            held = keras.ops.convert_to_numpy(variable)
            variable.assign(other)
            other.assign(held)
        self._in_model = not self._in_model

    def _make_statistics(self) -> None:
        norms = [layer for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
        if not norms:
            return
        remembered = 3 / (1 - max(layer.momentum for layer in norms))  # of what is older, 5 % are left
        steps = min(math.ceil(remembered), len(self._batches))
        self._look = self._look or _looking(self.model)  # once a training: JAX would compile another one anew
        self._look(self._batches[step][0] for step in range(steps))


def _looking(model: keras.Model) -> Callable[[Iterable[Any]], None]:
    """Return what lets the model look at images as in training, without changing its weights."""
    if keras.backend.backend() == "jax":
        return _looking_with_jax(model)

    def look(images: Iterable[Any]) -> None:
        for batch in images:
            model(batch, training=True)

    return look


def _looking_with_jax(model: keras.Model) -> Callable[[Iterable[Any]], None]:
    import jax

    def looked(weights: Any, others: Any, batch: Any) -> Any:
        return model.stateless_call(weights, others, batch, training=True)[1]

    compiled = jax.jit(looked)

    def look(images: Iterable[Any]) -> None:
        weights = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        for batch in images:
            others = compiled(weights, others, batch)
        for variable, value in zip(model.non_trainable_variables, others, strict=True):
            variable.assign(value)

    return look
