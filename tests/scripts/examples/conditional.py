"""Conditional scopes, hyperparameters given in advance, two Tuners, and a number that fit returns."""

import keras
import keras_tuner
import numpy as np

rng = np.random.default_rng(6)
x = rng.uniform(size=(200, 3)).astype("float32")
y = x.mean(axis=1)


class Model(keras_tuner.HyperModel):
    def build(self, hp):
        kind = hp.Choice("kind", ["linear", "deep"])
        model = keras.Sequential([keras.Input((3,))])
        with hp.conditional_scope("kind", ["deep"]):
            if kind == "deep":
                for layer in range(hp.Int("depth", 1, 2)):
                    model.add(keras.layers.Dense(hp.Int(f"width_{layer}", 2, 8), activation="tanh"))
        model.add(keras.layers.Dense(1))
        model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, sampling="log")), "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        return min(history.history["val_loss"]) ** 0.5


given = keras_tuner.HyperParameters()
given.Float("rate", 0.01, 0.05)
tuner = keras_tuner.RandomSearch(Model(), max_trials=3, hyperparameters=given, tune_new_entries=True, seed=13)
tuner.search(x[:120], y[:120], validation_data=(x[120:160], y[120:160]), epochs=3, verbose=0)
print("best", tuner.get_best_hyperparameters()[0].get("kind"))
tuner.get_best_models()[0].evaluate(x[160:], y[160:], verbose=0)

second = keras_tuner.RandomSearch(Model(), max_trials=2, seed=1, project_name="second")
second.search(x[:120], y[:120], validation_data=(x[120:160], y[120:160]), epochs=1, verbose=0)
print("not reached")
