"""A HyperModel with its own fit and a Tuner with its own run_trial, each of which names a hyperparameter."""

import keras
import keras_tuner as kt
import numpy as np

rng = np.random.default_rng(4)
x = rng.normal(5.0, 3.0, size=(256, 5)).astype("float32")
y = (x[:, 0] > x[:, 1]).astype("float32")


class Classifier(kt.HyperModel):
    def build(self, hp):
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(hp.Int("units", 4, 12)), keras.layers.Dense(1, activation="sigmoid")]
        )
        model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        if hp.Boolean("normalize"):
            mean, deviation = x.mean(axis=0), x.std(axis=0)
            x = (x - mean) / deviation
            validation_data = ((validation_data[0] - mean) / deviation, validation_data[1])
        return model.fit(x, y, validation_data=validation_data, **kwargs)


class Batches(kt.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        kwargs["batch_size"] = trial.hyperparameters.Choice("batch_size", [16, 32])
        return super().run_trial(trial, *args, **kwargs)


if __name__ == "__main__":
    tuner = Batches(
        Classifier(), objective="val_accuracy", max_trials=4, seed=8, tuner_id="tuner7", max_consecutive_failed_trials=5
    )
    tuner.search(x[:160], y[:160], validation_data=(x[160:208], y[160:208]), epochs=3)
    best_hp = tuner.get_best_hyperparameters()[0]
    print(sorted(best_hp.values))
    model = Classifier().build(best_hp)
    Classifier().fit(best_hp, model, x[:208], y[:208], validation_data=(x[208:], y[208:]), epochs=2, verbose=0)
