"""Averaged weights (`use_ema`): what is validated and saved is the model with them."""

from typing import Any

import keras


class AveragedWeights(keras.callbacks.Callback):
    """Exchanges the weights for their average when an epoch has been trained, and back before the next.

    Where the model holds the average, the optimizer's place for the average holds the weights. So a saved model is
    the one that was validated, it needs no more to predict, and a training that goes on from it loses nothing. Unlike
    Keras's SwapEMAWeights, which forgets the weights after the last epoch and saves the wrong ones in between.
    """

    def __init__(self, in_model: bool) -> None:
        super().__init__()
        self._in_model = in_model

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Train the weights."""
        if self._in_model:
            self._exchange()

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate their average."""
        if not self._in_model:
            self._exchange()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save their average, where nothing was validated."""
        if not self._in_model:
            self._exchange()

    def _exchange(self) -> None:
        optimizer = self.model.optimizer
        for variable, other in zip(
            optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
        ):
            held = keras.ops.convert_to_numpy(variable)
            variable.assign(other)
            other.assign(held)
        self._in_model = not self._in_model
