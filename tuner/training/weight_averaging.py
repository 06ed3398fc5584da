"""Averaged weights (`use_ema`): the model is validated and saved with the averages."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras


class AveragedWeights(keras.callbacks.Callback):
    """Validates and saves the model with the averages of its weights, and trains it with the weights themselves.

    Before each validation, the weights and their averages are swapped: the model holds the averages, and the optimizer
    keeps the weights in its variables for the averages. They are swapped back when the next epoch begins. So a saved
    model is the one that was validated, it predicts without further steps, and training resumes from it without loss.
    Keras's SwapEMAWeights loses the weights after the last epoch, and saves the wrong ones after earlier epochs.

    Batch norm's moving mean and variance were computed with the weights, not with the averages. While the learning rate
    is high, the difference can be so large that a trained model predicts no better than chance. Therefore the moving
    mean and variance are updated with the averages before each validation, on 3 / (1 - momentum) training batches (at
    most one epoch), as in stochastic weight averaging (Izmailov et al., https://arxiv.org/abs/1803.05407).
    """

    def __init__(self, inputs: Callable[[int], Iterable[Any]], steps: int | None, in_model: bool) -> None:
        """Create the callback.

        Args:
            inputs: Returns the inputs of a number of training batches.
            steps: Number of batches per epoch; None if unknown.
            in_model: Whether the model holds the averages already.
        """
        super().__init__()
        self._inputs = inputs
        self._steps = steps
        self._in_model = in_model
        self._update: Callable[[Iterable[Any]], None] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Swap the weights into the model for training."""
        if self._in_model:
            self._swap()

    def on_test_begin(self, logs: Any = None) -> None:
        """Swap the averages into the model for validation."""
        if not self._in_model:
            self._swap()
            self._recompute_statistics()

    def _swap(self) -> None:
        optimizer = self.model.optimizer
        averages = optimizer._model_variables_moving_average
        for variable, other in zip(optimizer._trainable_variables, averages, strict=True):
            value = keras.ops.convert_to_numpy(variable)
            variable.assign(other)
            other.assign(value)
        self._in_model = not self._in_model

    def _recompute_statistics(self) -> None:
        norms = [layer for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
        if not norms:
            return
        remembered = 3 / (1 - max(layer.momentum for layer in norms))  # older batches keep a weight of 5 %
        steps = min(math.ceil(remembered), self._steps or math.ceil(remembered))
        self._update = self._update or _statistics_update(self.model)  # created once because JAX compiles it
        self._update(self._inputs(steps))


def _statistics_update(model: keras.Model) -> Callable[[Iterable[Any]], None]:
    """Return a function that runs a model on inputs as in training, without changing its weights."""
    if keras.backend.backend() == "jax":
        return _statistics_update_in_jax(model)

    def update(inputs: Iterable[Any]) -> None:
        for batch in inputs:
            model(batch, training=True)

    return update


def _statistics_update_in_jax(model: keras.Model) -> Callable[[Iterable[Any]], None]:
    import jax

    def forward(weights: Any, others: Any, batch: Any) -> Any:
        return model.stateless_call(weights, others, batch, training=True)[1]

    compiled = jax.jit(forward)

    def update(inputs: Iterable[Any]) -> None:
        weights = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        for batch in inputs:
            others = compiled(weights, others, batch)
        for variable, value in zip(model.non_trainable_variables, others, strict=True):
            variable.assign(value)

    return update
