"""What layers that change images at random, and only in training, have in common."""

from abc import abstractmethod
from typing import Any

import keras


class Augmentation(keras.layers.Layer):
    """Changes images (n, height, width, channels) in training, and does nothing when a model predicts."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, images: Any, training: bool = False) -> Any:
        """Return images of the same shape."""
        return self.changed(images) if training else images

    @abstractmethod
    def changed(self, images: Any) -> Any:
        """Return what the model is trained on."""

    def for_prediction(self) -> keras.layers.Layer:
        """Return what it does when a model predicts."""
        return keras.layers.Identity(name=self.name, dtype=self.dtype_policy.name)
