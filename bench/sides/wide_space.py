"""A space of small networks in which good models are rare: its learning rate has four decades."""

import keras
import keras_tuner

ACTIVATIONS = ("relu", "tanh")
RATES = {"min_value": 1e-5, "max_value": 1e-1, "sampling": "log"}


class WideSpace(keras_tuner.HyperModel):
    """One to three convolutions and a dense layer, small enough for a core.

    All hyperparameters are named in every build: bare Keras Tuner would learn those of a second layer from the first
    trial that has one, and then suggest other trials than ours, which knows them from the start.
    """

    def build(self, hp):
        layers = keras.layers
        filters = [hp.Int(f"filters_{number}", 8, 32, step=8) for number in range(3)]
        activation = hp.Choice("activation", ACTIVATIONS)
        model = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255)])
        for number in range(hp.Int("convolutions", 1, 3)):
            model.add(layers.Conv2D(filters[number], 3, padding="same", activation=activation))
            model.add(layers.MaxPooling2D())
        model.add(layers.Flatten())
        model.add(layers.Dense(hp.Int("units", 32, 128, step=32), activation="relu"))
        model.add(layers.Dropout(hp.Float("dropout", 0.0, 0.5, step=0.25)))
        model.add(layers.Dense(1, activation="sigmoid"))
        optimizers = {
            each.__name__: each for each in (keras.optimizers.Adam, keras.optimizers.SGD, keras.optimizers.RMSprop)
        }
        optimizer = optimizers[hp.Choice("optimizer", list(optimizers))]
        model.compile(optimizer(hp.Float("learning_rate", **RATES)), "binary_crossentropy", metrics=["accuracy"])
        return model
