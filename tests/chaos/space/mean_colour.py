"""What the spaces of the chaos runs share: a tiny model, and a callback that marks every epoch that it trains.

Without anything of the tests: on a cluster it comes into the image as a file of the user's own.
"""

import keras
import keras_tuner


class MeanColour(keras_tuner.HyperModel):
    """The mean colour through a dense layer; eager on TensorFlow, where tracing takes longer than all its training.

    JAX dispatches single operations so slowly that its compiled graph, even traced for every trial, takes less.

    A subclass has `marks(key)`, a callback. The key is a hyperparameter that no two trials share.
    """

    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def loss(self, key):
        """Return the loss of the trial with this key."""
        return "sparse_categorical_crossentropy"

    def build(self, hp):
        key = hp.Int("key", 1, 2**30)
        layers = [
            keras.Input(self.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(self.classes, activation="softmax"),
        ]
        model = keras.Sequential(layers)
        eager = keras.backend.backend() == "tensorflow"
        model.compile(keras.optimizers.Adam(0.02), self.loss(key), metrics=["accuracy"], run_eagerly=eager)
        fit = model.fit
        # before the program's own callbacks: an epoch is marked as trained before it is saved or reported
        model.fit = lambda *args, callbacks, **more: fit(*args, callbacks=[self.marks(key), *callbacks], **more)
        return model


class EpochMarks(keras.callbacks.Callback):
    """Marks what is trained; a subclass has `mark(what, epoch)`."""

    def __init__(self, key):
        super().__init__()
        self.key = key

    def on_train_begin(self, logs=None):
        self.mark("start", 0)

    def on_epoch_begin(self, epoch, logs=None):
        self.mark("begin", epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.mark("end", epoch)
