"""Models that need more memory than any machine has if they are loaded again, applied or measured."""

from typing import Any

import keras
import numpy as np

from tests.worker.honest_spaces import Honest

VALUES = 2**50


@keras.saving.register_keras_serializable("greedy")
class GreedyLayer(keras.layers.Layer):
    """Exhausts the memory at one of two moments."""

    def __init__(self, moment: str, **more: Any) -> None:
        super().__init__(**more)
        self.moment = moment

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones")

    def load_own_variables(self, store: Any) -> None:
        if self.moment == "loaded":
            np.empty(VALUES)
        super().load_own_variables(store)

    def call(self, pixels: Any) -> Any:
        if self.moment == "applied":
            # not a constant, which TensorFlow would compute while it traces the call
            many = keras.ops.broadcast_to(keras.ops.reshape(pixels[0, 0, 0, 0], (1, 1)), (2**24, VALUES // 2**24))
            return pixels * self.scale * keras.ops.max(many)
        return pixels * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "moment": self.moment}


@keras.saving.register_keras_serializable("greedy")
def greedy_metric(truth: Any, output: Any) -> Any:
    """Exhaust the memory."""
    np.empty(VALUES)


class Greedy(Honest):
    """Exhausts the memory at a moment."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self.moment = moment

    def first(self, common: Any) -> list[Any]:
        return [GreedyLayer(self.moment, **common)]

    def metrics(self) -> list[Any]:
        return ["accuracy", greedy_metric] if self.moment == "measured" else ["accuracy"]
