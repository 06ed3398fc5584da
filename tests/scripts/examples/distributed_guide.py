"""As in Keras Tuner's guide to distributed tuning: Hyperband, a distribution strategy, and early stopping."""

import keras
import keras_tuner as kt
import numpy as np
import tensorflow as tf


def build_model(hp):
    """Builds a convolutional model."""
    inputs = keras.Input(shape=(8, 8, 1))
    x = inputs
    for i in range(hp.Int("conv_layers", 1, 2, default=2)):
        x = keras.layers.Conv2D(
            filters=hp.Int("filters_" + str(i), 4, 8, step=4, default=4),
            kernel_size=hp.Int("kernel_size_" + str(i), 3, 3),
            activation="relu",
            padding="same",
        )(x)
        if hp.Choice("pooling" + str(i), ["max", "avg"]) == "max":
            x = keras.layers.MaxPooling2D()(x)
        else:
            x = keras.layers.AveragePooling2D(2)(x)
        x = keras.layers.BatchNormalization()(x)
    if hp.Choice("global_pooling", ["max", "avg"]) == "max":
        x = keras.layers.GlobalMaxPooling2D()(x)
    else:
        x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(2, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    optimizer = hp.Choice("optimizer", ["adam", "sgd"])
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


tuner = kt.Hyperband(
    hypermodel=build_model,
    objective="val_accuracy",
    max_epochs=2,
    factor=2,
    hyperband_iterations=1,
    distribution_strategy=tf.distribute.MirroredStrategy(),
    directory="results_dir",
    project_name="mnist",
    overwrite=True,
    seed=3,
)

rng = np.random.default_rng(1)
labels = rng.integers(0, 2, 256)
images = (rng.uniform(size=(256, 8, 8)) * (1 + labels[:, None, None]))[..., np.newaxis].astype("float32")
x_train, y_train = images[:128], labels[:128]
x_val, y_val = images[128:192], labels[128:192]
x_test, y_test = images[192:], labels[192:]

tuner.search(
    x_train,
    y_train,
    steps_per_epoch=4,
    validation_data=(x_val, y_val),
    validation_steps=2,
    callbacks=[keras.callbacks.EarlyStopping("val_accuracy", patience=3)],
)
print(tuner.get_best_models()[0].evaluate(x_test, y_test, verbose=0))
