"""As in Keras Tuner's getting-started guide: several executions per trial, and the best values trained again."""

import keras
import keras_tuner
import numpy as np
from keras import layers


def call_existing_code(units, activation, dropout, lr):
    model = keras.Sequential()
    model.add(layers.Flatten())
    model.add(layers.Dense(units=units, activation=activation))
    if dropout:
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=lr), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def build_model(hp):
    units = hp.Int("units", min_value=32, max_value=512, step=32)
    activation = hp.Choice("activation", ["relu", "tanh"])
    dropout = hp.Boolean("dropout")
    lr = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    return call_existing_code(units=units, activation=activation, dropout=dropout, lr=lr)


build_model(keras_tuner.HyperParameters())

tuner = keras_tuner.RandomSearch(
    hypermodel=build_model,
    objective="val_accuracy",
    max_trials=3,
    executions_per_trial=2,
    overwrite=True,
    directory="my_dir",
    project_name="helloworld",
    seed=11,
)
tuner.search_space_summary()

rng = np.random.default_rng(0)
x, y = rng.uniform(size=(300, 7, 7)).astype("float32"), rng.integers(0, 10, 300)
x_train, x_val, x_test = x[:-200], x[-200:-100], x[-100:]
y_train, y_val, y_test = (keras.utils.to_categorical(part, 10) for part in (y[:-200], y[-200:-100], y[-100:]))

tuner.search(x_train, y_train, epochs=2, validation_data=(x_val, y_val))

models = tuner.get_best_models(num_models=2)
best_model = models[0]
best_model.summary()
tuner.results_summary()

best_hps = tuner.get_best_hyperparameters(5)
model = build_model(best_hps[0])
x_all, y_all = np.concatenate((x_train, x_val)), np.concatenate((y_train, y_val))
model.fit(x=x_all, y=y_all, epochs=1)
model.evaluate(x_test, y_test)
