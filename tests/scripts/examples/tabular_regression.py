"""Regression on a table: Bayesian optimization of val_mae, with an adapted Normalization and arguments."""

import argparse

import keras
import keras_tuner as kt
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=4)
args = parser.parse_args()

rng = np.random.default_rng(5)
features = rng.normal(3.0, 2.0, size=(480, 6)).astype("float32")
targets = (features @ rng.normal(size=6) + rng.normal(size=480)).astype("float32")

normalization = keras.layers.Normalization()
normalization.adapt(features[:320])


class Regressor(kt.HyperModel):
    def build(self, hp):
        model = keras.Sequential([keras.Input((6,)), normalization])
        for layer in range(hp.Int("layers", 1, 3)):
            model.add(keras.layers.Dense(hp.Choice(f"units_{layer}", [8, 16, 32]), activation="relu"))
        model.add(keras.layers.Dense(1))
        model.compile("sgd", "mse")
        return model


tuner = kt.BayesianOptimization(
    Regressor(),
    objective=kt.Objective("val_mae", "min"),
    max_trials=5,
    num_initial_points=3,
    seed=42,
    max_retries_per_trial=1,
    optimizer=keras.optimizers.Adam(0.01),
    loss="mse",
    metrics=["mae"],
    project_name="table",
)
stop = keras.callbacks.EarlyStopping(monitor="val_mae", patience=3)
tuner.search(
    features[:320], targets[:320], validation_split=0.25, epochs=args.epochs, batch_size=32, callbacks=[stop], verbose=0
)
model = tuner.get_best_models()[0]
results = model.evaluate(features[320:], targets[320:], return_dict=True, verbose=0)
print(f"test MAE {results['mae']:.3f}")
