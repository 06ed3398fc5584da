"""The base of layers that change images randomly, in training only."""

from abc import abstractmethod
from typing import Any

import keras


class Augmentation(keras.layers.Layer):
    """Changes images (n, height, width, channels) in training, and returns them unchanged in prediction."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, images: Any, training: bool = False) -> Any:
        """Return images of the same shape."""
        return self.changed(images) if training else images

    @abstractmethod
    def changed(self, images: Any) -> Any:
        """Return the changed images, which the model is trained on."""

    def for_prediction(self) -> keras.layers.Layer:
        """Return the layer that does the same in prediction."""
        return keras.layers.Identity(name=self.name, dtype=self.dtype_policy.name)
