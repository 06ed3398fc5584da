"""Trainings whose saved model is the one that was scored, in all the ways that make its numbers hard to repeat."""

from typing import Any

import keras
import keras_tuner

SHAPE, CLASSES = (8, 8, 3), 2


class Honest(keras_tuner.HyperModel):
    """A small convolutional network that learns two shades."""

    policy = "float32"
    labels = "integers"

    def build(self, hp: Any) -> keras.Model:
        with_policy = keras.dtype_policies.get(self.policy)
        common = {"dtype": with_policy}
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Rescaling(1 / 255, **common),
                *self.first(common),
                keras.layers.Conv2D(4, 3, activation="relu", **common),
                *self.middle(common),
                keras.layers.Flatten(**common),
                *self.last(common),
            ]
        )
        model.compile(self.optimizer(), self.loss(), metrics=self.metrics())
        return model

    def first(self, common: Any) -> list[Any]:
        return []

    def middle(self, common: Any) -> list[Any]:
        return []

    def last(self, common: Any) -> list[Any]:
        return [keras.layers.Dense(CLASSES, activation="softmax", **common)]

    def optimizer(self) -> Any:
        return keras.optimizers.Adam(0.003)

    def loss(self) -> Any:
        return "sparse_categorical_crossentropy"

    def metrics(self) -> list[Any]:
        return ["accuracy"]


class Dropping(Honest):
    """Dropout, noise and augmentation: another model in training than in prediction."""

    def first(self, common: Any) -> list[Any]:
        return [
            keras.layers.RandomFlip(**common),
            keras.layers.RandomTranslation(0.1, 0.1, **common),
            keras.layers.GaussianNoise(0.1, **common),
        ]

    def middle(self, common: Any) -> list[Any]:
        return [keras.layers.Dropout(0.5, **common)]


class Normalized(Honest):
    """Batch normalisation, whose statistics lag behind."""

    def middle(self, common: Any) -> list[Any]:
        return [keras.layers.BatchNormalization(**common), keras.layers.LayerNormalization(**common)]


class Brain(Normalized):
    """All of it in bfloat16, the outputs as well."""

    policy = "bfloat16"


class Mixed(Normalized):
    """Mixed precision, as Keras's guide has it: the last layer in float32."""

    policy = "mixed_bfloat16"

    def last(self, common: Any) -> list[Any]:
        return [keras.layers.Dense(CLASSES, activation="softmax", dtype="float32")]


class Averaged(Normalized):
    """Averaged weights: the model with the averages is validated and saved."""

    def optimizer(self) -> Any:
        return keras.optimizers.Adam(0.003, use_ema=True, ema_momentum=0.9)


class OneCycle(Honest):
    """A learning rate that rises and falls."""

    def optimizer(self) -> Any:
        return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1e-3, 20, warmup_target=0.1, warmup_steps=5))


class Sigmoid(Honest):
    """One output, with a metric of ranks."""

    def last(self, common: Any) -> list[Any]:
        return [keras.layers.Dense(1, activation="sigmoid", **common)]

    def loss(self) -> Any:
        return "binary_crossentropy"

    def metrics(self) -> list[Any]:
        return ["accuracy", keras.metrics.AUC(name="auc")]


class Penalized(Honest):
    """A loss that includes a penalty of the weights, and smoothed labels."""

    def last(self, common: Any) -> list[Any]:
        l2 = keras.regularizers.L2(0.01)
        return [keras.layers.Dense(CLASSES, activation="softmax", kernel_regularizer=l2, **common)]


class OneHot(Honest):
    """A `fit` that makes the labels one-hot, and a loss that needs that."""

    def loss(self) -> Any:
        return keras.losses.CategoricalCrossentropy(label_smoothing=0.1)

    def fit(self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, **more: Any) -> Any:
        images, labels = validation_data
        hot = keras.utils.to_categorical
        return model.fit(x, hot(y, CLASSES), validation_data=(images, hot(labels, CLASSES)), **more)


class OtherBatches(Normalized):
    """A `fit` with batches of its own, also in validation, and weights of the classes."""

    def fit(self, hp: Any, model: Any, x: Any, y: Any, **more: Any) -> Any:
        return model.fit(x, y, batch_size=7, validation_batch_size=3, class_weight={0: 2.0, 1: 0.5}, **more)


HONEST = (
    Honest, Dropping, Normalized, Brain, Mixed, Averaged, OneCycle, Sigmoid, Penalized, OneHot, OtherBatches
)  # fmt: skip


class ScalesInFit(Honest):
    """What most notebooks do: the pixels are divided in `fit`, and the model expects 0 to 1."""

    def build(self, hp: Any) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(CLASSES, activation="softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, **more: Any) -> Any:
        images, labels = validation_data
        return model.fit(x / 255.0, y, validation_data=(images / 255.0, labels), **more)
