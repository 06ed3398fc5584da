"""Input from tf.data, with a learning-rate schedule and a callback that cannot be copied."""

import threading

import keras
import keras_tuner as kt
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(9)
x = rng.normal(size=(320, 4)).astype("float32")
y = (x.sum(axis=1) > 0).astype("int32")


def dataset(first, last, shuffle=False):
    data = tf.data.Dataset.from_tensor_slices((x[first:last], y[first:last]))
    if shuffle:
        data = data.shuffle(64)
    return data.batch(16).prefetch(tf.data.AUTOTUNE)


class Locked(keras.callbacks.Callback):
    """Has a lock, which cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def build_model(hp):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(hp.Int("units", 4, 16, sampling="log"), activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(hp.Float("learning_rate", 0.01, 0.5, sampling="log"), momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
    )
    return model


tuner = kt.RandomSearch(
    build_model, objective=kt.Objective("val_acc", direction="max"), max_trials=3, seed=21, directory="pipelines"
)
decay = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
tuner.search(dataset(0, 192, True), validation_data=dataset(192, 256), epochs=4, callbacks=[decay, Locked()])
tuner.get_best_models(1)[0].evaluate(dataset(256, 320))
