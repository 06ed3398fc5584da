"""An autoencoder, which is a subclass of keras.Model that Keras cannot save without its code."""

import keras
import keras_tuner as kt
import numpy as np

rng = np.random.default_rng(3)
x = (rng.normal(size=(256, 2)) @ rng.normal(size=(2, 12))).astype("float32")
x_train, x_val, x_test = x[:160], x[160:208], x[208:]


class Autoencoder(keras.Model):
    def __init__(self, code, activation):
        super().__init__()
        self.encoder = keras.Sequential([keras.layers.Dense(code, activation=activation)])
        self.decoder = keras.Sequential([keras.layers.Dense(12)])

    def call(self, inputs):
        return self.decoder(self.encoder(inputs))


def build_model(hp):
    model = Autoencoder(hp.Int("code", 1, 4), hp.Choice("activation", ["linear", "tanh"]))
    model.compile(optimizer=keras.optimizers.Adam(hp.Choice("lr", [0.01, 0.03])), loss="mse")
    return model


tuner = kt.GridSearch(build_model, objective="val_loss", max_trials=4, seed=1, overwrite=True)
tuner.search(x_train, x_train, epochs=3, batch_size=16, validation_data=(x_val, x_val), verbose=2)
best = tuner.get_best_models()[0]
print("reconstruction", best.evaluate(x_test, x_test, verbose=0))
