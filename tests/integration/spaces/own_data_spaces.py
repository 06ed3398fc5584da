"""HyperModels that bring their own data: arrays, a PyDataset that shuffles itself, and a tf.data pipeline."""

import math

import keras
import keras_tuner
import numpy as np
from user_spaces import gated  # type: ignore[import-not-found]  # this folder is the space's code

SIZES = {"train": 96, "validation": 32, "test": 40}


class Regression(keras_tuner.HyperModel):
    """A line through noisy points. The split is random, and `data` does not seed it."""

    def data(self, part):
        everything = sum(SIZES.values())
        noise = np.random.default_rng(0)
        x = noise.normal(size=(everything, 3)).astype("float32")
        y = x @ np.array([1, -2, 3], "float32") + noise.normal(scale=0.1, size=everything).astype("float32")
        order = np.random.permutation(everything)
        start = {"train": 0, "validation": SIZES["train"], "test": SIZES["train"] + SIZES["validation"]}[part]
        chosen = order[start : start + SIZES[part]]
        return x[chosen], y[chosen], np.ones(len(chosen), "float32")

    def build(self, hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.1), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(hp.Choice("learning_rate", [0.1, 0.05])), "mse", metrics=["mae"])
        return gated(model)


class LabelledImages(keras.utils.PyDataset):
    """Small images with three labels each, whether their channels are bright. It shuffles its images in place."""

    def __init__(self, part):
        super().__init__()
        rng = np.random.default_rng(list(SIZES).index(part))
        self.y = rng.integers(0, 2, (SIZES[part], 3)).astype("float32")
        noise = rng.normal(0, 20, (SIZES[part], 8, 8, 3))
        self.x = (90 + 80 * self.y[:, None, None] + noise).clip(0, 255).astype("uint8")
        self.order = np.arange(SIZES[part])

    def __len__(self):
        return math.ceil(len(self.order) / 16)

    def __getitem__(self, index):
        chosen = self.order[16 * index : 16 * (index + 1)]
        return self.x[chosen], self.y[chosen]

    def on_epoch_end(self):
        np.random.shuffle(self.order)


class MultiLabel(keras_tuner.HyperModel):
    """Several labels an image, with numbers of its own for the report."""

    def data(self, part):
        return LabelledImages(part)

    def build(self, hp):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Rescaling(1 / 127.5, offset=-1),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(3, activation="sigmoid"),
            ]
        )
        optimizer = keras.optimizers.Adam(hp.Choice("learning_rate", [0.1, 0.05]))
        model.compile(optimizer, "binary_crossentropy", metrics=[keras.metrics.BinaryAccuracy(name="per_label")])
        return gated(model)

    def evaluate(self, model, test):
        predicted = np.concatenate([model.predict_on_batch(test[step][0]) for step in range(len(test))]) > 0.5
        truth = np.concatenate([test[step][1] for step in range(len(test))]) > 0.5
        return {"exact matches": (predicted == truth).all(axis=1).mean(), "per_label": (predicted == truth).mean()}


class Pipeline(keras_tuner.HyperModel):
    """A tf.data pipeline, which shuffles with a seed and in the same order in each epoch."""

    def data(self, part):
        import tensorflow as tf

        rng = np.random.default_rng(list(SIZES).index(part))
        x = rng.normal(size=(SIZES[part], 3)).astype("float32")
        y = (x.sum(axis=1) > 0).astype("float32")
        points = tf.data.Dataset.from_tensor_slices((x, y))
        return points.shuffle(SIZES[part], seed=1, reshuffle_each_iteration=False).batch(16)

    def build(self, hp):
        layers = [keras.Input((3,)), keras.layers.Dropout(0.1), keras.layers.Dense(1, activation="sigmoid")]
        model = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(hp.Choice("learning_rate", [0.1, 0.05]))
        model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
        return gated(model)
