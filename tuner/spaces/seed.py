"""The published space: one convolution, two dense layers, their activations, learning rate and optimizer.

Its images have 32 x 32 pixels. For larger images, the convolution's kernel and strides grow with the image, so that the
convolution sees the same share of the image, and the dense layers keep their size.
"""

import keras
import keras_tuner

from tuner.spaces.image_scale import image_scale, patch_layers
from tuner.spaces.precision import fastest_precision

ACTIVATIONS = ("relu", "tanh")


class SeedSpace(keras_tuner.HyperModel):
    """Networks of one Conv2D, max pooling and two Dense layers.

    The model takes pixels (n, height, width, channels) of 0-255. It returns float32: with two classes a sigmoid (n, 1),
    with more classes a softmax (n, classes). In between, it computes in bfloat16 if the hardware multiplies bfloat16
    faster than float32.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 2) -> None:
        super().__init__(name="seed")
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Return the compiled model."""
        layers, dtype = keras.layers, fastest_precision()
        height, width, _ = self.image_shape
        filters, kernel_size = hp.Int("filters", 20, 100, step=20), hp.Int("kernel_size", 2, 4)

        def dense(number: int) -> keras.Layer:
            units = hp.Int(f"units_{number}", 100, 1000, step=100)
            return layers.Dense(units, activation=hp.Choice(f"activation_{number}", ACTIVATIONS), dtype=dtype)

        model = keras.Sequential(
            [
                keras.Input(self.image_shape),
                layers.Rescaling(1 / 255, dtype="float32"),
                *patch_layers(height, width, image_scale(height, width), "float32"),
                layers.Conv2D(filters, kernel_size, activation="relu", name="conv", dtype=dtype),
                layers.MaxPooling2D(dtype=dtype),
                layers.Flatten(dtype=dtype),
                dense(1),
                dense(2),
                layers.Dense(1, activation="sigmoid", dtype="float32")
                if self.classes == 2
                else layers.Dense(self.classes, activation="softmax", dtype="float32"),
            ]
        )
        optimizers = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
        learning_rate = hp.Choice("learning_rate", [1e-3, 5e-4, 1e-4])
        model.compile(
            optimizer=optimizers[hp.Choice("optimizer", list(optimizers))](learning_rate),
            loss="binary_crossentropy" if self.classes == 2 else "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model
