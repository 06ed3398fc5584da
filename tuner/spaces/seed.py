"""The published space: one convolution, two dense layers, their activations, learning rate and optimizer."""

import keras
import keras_tuner

ACTIVATIONS = ("relu", "tanh")


class SeedSpace(keras_tuner.HyperModel):
    """One Conv2D, max pooling, two Dense layers; a sigmoid for two classes, a softmax for more.

    The model takes pixels (n, height, width, channels) of 0-255 and returns (n, 1) or (n, classes).
    """

    def __init__(self, image_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 2) -> None:
        super().__init__(name="seed")
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Return the compiled model."""
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input(self.image_shape),
                layers.Rescaling(1 / 255),
                layers.Conv2D(
                    hp.Int("filters", 20, 100, step=20), hp.Int("kernel_size", 2, 4), activation="relu", name="conv"
                ),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(hp.Int("units_1", 100, 1000, step=100), activation=hp.Choice("activation_1", ACTIVATIONS)),
                layers.Dense(hp.Int("units_2", 100, 1000, step=100), activation=hp.Choice("activation_2", ACTIVATIONS)),
                layers.Dense(1, activation="sigmoid")
                if self.classes == 2
                else layers.Dense(self.classes, activation="softmax"),
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
