"""A model that is built, compiled and never trained, so that a trial consists only of its overhead."""

import keras
import keras_tuner


class NoOp(keras_tuner.HyperModel):
    """A minimal image classifier. Its `fit` calls the callbacks of one epoch and computes nothing.

    Its objective is called `val_score`, because a worker recomputes a `val_accuracy` and would find another one.
    """

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp):
        layers = [
            keras.Input(self.image_shape),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        model.compile(
            keras.optimizers.SGD(hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    def fit(self, hp, model, x, y, validation_data, callbacks, **more):
        for callback in callbacks:
            callback.set_model(model)
            callback.on_epoch_begin(0)
            callback.on_train_batch_end(0)
            callback.on_epoch_end(0, {"loss": 1.0, "val_score": 0.5})
