"""Residual networks for small images, with the recipe shared by the best CIFAR-10 models trained from scratch.

Wide residual networks (Zagoruyko, Komodakis, https://arxiv.org/abs/1605.07146) have batch norm and ReLU before each
convolution, and three stages, each with half the resolution and twice the channels of the previous one. The recipe is a
one-cycle learning rate, decoupled weight decay on convolutions and the last layer only, label smoothing and averaged
weights. Images that are larger than 32 x 32 pixels are reduced by the first convolution, and shifted and erased by
correspondingly more pixels.
"""

from functools import partial
from typing import Any

import keras
import keras_tuner

from tuner import names
from tuner.spaces.image_scale import image_scale, patch_layers
from tuner.spaces.layers.batch_norm import FusedBatchNormalization
from tuner.spaces.layers.mixing import MIXINGS, MixedModel
from tuner.spaces.layers.one_cycle import OneCycle
from tuner.spaces.layers.optimizers import SGD, AdamW
from tuner.spaces.layers.random_shift import RandomShift
from tuner.spaces.precision import fastest_precision

STAGES = 3
SGD_FACTOR = 100
"""Factor by which SGD's learning rate is larger, and its weight decay smaller, than AdamW's: 0.2 and 5e-4 correspond to
AdamW's 2e-3 and 0.05. Then both optimizers shrink the weights by the same share per step, so one range serves both."""
UNKNOWN_STEPS = 704
"""Steps per epoch if they are unknown, as when the space is explored: CIFAKE has 704 batches of 128 images."""
MEAN_PIXEL = 119.0
"""Mean pixel of CIFAKE's training images. Erased squares get this value, so that they are neither dark nor bright."""


class DeepSpace(keras_tuner.HyperModel):
    """Wide residual networks of 78,000 to 53 million parameters.

    The model takes pixels (n, height, width, channels) of 0-255. It returns float32: with two classes a sigmoid (n, 1),
    with more classes a softmax (n, classes). It flips, shifts, erases and mixes images in training only. The model
    saved for prediction contains only Keras's own layers.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 2) -> None:
        super().__init__(name="deep")
        self.image_shape = image_shape
        self.classes = classes
        self.scale = image_scale(*image_shape[:2])

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Return the compiled model."""
        width = hp.Choice("width", [16, 32, 48, 64, 96, 128, 160, 192], default=32)  # channels of the first stage
        blocks = hp.Int("blocks", 1, 4, default=2)  # per stage
        inputs = keras.Input(self.image_shape)
        images = self._augmented(hp, inputs)
        mixing = MIXINGS.get(hp.Choice("mixing", ["none", *MIXINGS]))
        if mixing:
            images = mixing(dtype="float32")(images)
        model_class = MixedModel if mixing else keras.Model
        model = model_class(inputs, self._head(_network(images, width, blocks, self.scale)), name="deep")
        smoothing = hp.Choice("label_smoothing", [0.0, 0.05, 0.1])
        if self.classes == 2:
            loss: keras.losses.Loss = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
        else:
            loss = SmoothedSparseCrossentropy(smoothing, self.classes)
        model.compile(optimizer=_optimizer(hp), loss=loss, metrics=["accuracy"])
        return model

    def _augmented(self, hp: keras_tuner.HyperParameters, images: Any) -> Any:
        """Return pixels around 0, augmented in training. They are float32 because bfloat16 has 8 significant bits."""
        layers, scale = keras.layers, self.scale
        height, width, _ = self.image_shape
        flip = hp.Choice("flip", ["horizontal", "horizontal_and_vertical"])
        images = layers.RandomFlip(flip, dtype="float32")(images)
        if shift := hp.Int("shift", 0, 4):  # maximum, in pixels of an image of 32 x 32 pixels
            images = RandomShift(shift * scale, dtype="float32")(images)
        if cutout := hp.Choice("cutout", [0, 8, 12]):  # side of the square, in the same pixels
            area = (cutout * scale) ** 2 / (height * width)
            images = layers.RandomErasing(
                factor=(1.0, 1.0), scale=(area, area), fill_value=MEAN_PIXEL, dtype="float32"
            )(images)
        return layers.Rescaling(1 / 64, -MEAN_PIXEL / 64, dtype="float32")(images)

    def _head(self, features: Any) -> Any:
        if self.classes == 2:
            return keras.layers.Dense(1, activation="sigmoid", dtype="float32")(features)
        return keras.layers.Dense(self.classes, activation="softmax", dtype="float32")(features)


@keras.saving.register_keras_serializable("cifake_tune")
class SmoothedSparseCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels with label smoothing, which Keras offers for one-hot labels only."""

    def __init__(
        self, smoothing: float, classes: int, name: str = "smoothed_sparse_crossentropy", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing
        self.classes = classes

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        labels = keras.ops.one_hot(keras.ops.reshape(y_true, (-1,)), self.classes)
        return keras.losses.categorical_crossentropy(labels, y_pred, label_smoothing=self.smoothing)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `__init__`."""
        return {**super().get_config(), "smoothing": self.smoothing, "classes": self.classes}


def _network(images: Any, width: int, blocks: int, scale: int) -> Any:
    """Return features (n, 4 x width), float32, of images with pixels around 0, which are reduced by `scale` first."""
    layers, dtype = keras.layers, fastest_precision()
    convolution = partial(layers.Conv2D, padding="same", use_bias=False, kernel_initializer="he_normal", dtype=dtype)

    def normalized(features: Any) -> Any:
        # with Keras's momentum of 0.99, the first weights would still dominate after an epoch of few steps
        features = FusedBatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype)(features)
        return layers.Activation("relu", dtype=dtype)(features)

    for layer in patch_layers(images.shape[1], images.shape[2], scale, "float32"):
        images = layer(images)
    features = convolution(width, 3)(images)
    for stage in range(STAGES):
        channels = width * 2**stage
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            shortcut, features = features, normalized(features)
            if block == 0:
                shortcut = convolution(channels, 1, strides=strides)(features)
            features = convolution(channels, 3, strides=strides)(features)
            features = convolution(channels, 3)(normalized(features))
            features = layers.Add(dtype=dtype)([shortcut, features])
    return layers.GlobalAveragePooling2D(dtype="float32")(normalized(features))


def _optimizer(hp: keras_tuner.HyperParameters) -> keras.optimizers.Optimizer:
    name = hp.Choice("optimizer", ["adamw", "sgd"])
    learning_rate = hp.Float("learning_rate", 5e-4, 8e-3, sampling="log", default=2e-3)
    weight_decay = hp.Float("weight_decay", 1e-2, 2e-1, sampling="log", default=5e-2)
    momentum = hp.Choice("average", [0.0, 0.99, 0.998])  # momentum of the averaged weights; 0 disables averaging
    averaged: dict[str, Any] = {"use_ema": True, "ema_momentum": momentum} if momentum else {}
    steps = hp.values.get(names.HP_STEPS, UNKNOWN_STEPS) * hp.values.get(names.HP_EPOCHS, 10)
    if name == "adamw":
        optimizer: keras.optimizers.Optimizer = AdamW(
            OneCycle(learning_rate, steps), weight_decay=weight_decay, **averaged
        )
    else:
        optimizer = SGD(
            OneCycle(learning_rate * SGD_FACTOR, steps), momentum=0.9, nesterov=True,
            weight_decay=weight_decay / SGD_FACTOR, **averaged,
        )  # fmt: skip
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer
