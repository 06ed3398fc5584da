"""Batch normalization as one operation when training on TensorFlow."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("cifake_tune")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer for (n, height, width, channels) that uses TensorFlow's dedicated operation in training.

    Keras 3 computes the statistics with a dozen float32 operations, each of which reads and writes memory.
    `bench/variants.py` measures the cost on a CPU. JAX's compiler fuses these operations by itself.
    """

    def __init__(self, momentum: float, epsilon: float, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the normalized inputs, in the same dtype."""
        if not (training and self.trainable and keras.backend.backend() == "tensorflow"):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow

        outputs, mean, variance, *_ = tensorflow.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tensorflow.convert_to_tensor(self.gamma.value, "float32"),
            offset=tensorflow.convert_to_tensor(self.beta.value, "float32"),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        # the operation divides by n - 1, Keras by n
        count = tensorflow.cast(tensorflow.size(inputs) / inputs.shape[-1], "float32")
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `__init__`."""
        whole = super().get_config()
        return {key: whole[key] for key in ("name", "trainable", "dtype", "momentum", "epsilon")}

    def for_prediction(self) -> keras.layers.Layer:
        """Return Keras's own layer, without weights."""
        return keras.layers.BatchNormalization.from_config(self.get_config())
