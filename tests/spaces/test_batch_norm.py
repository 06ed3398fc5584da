"""Fused batch normalization does what Keras's does, with its outputs, gradients and statistics."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow

from tuner.spaces.layers.batch_norm import FusedBatchNormalization

INPUTS = (np.random.default_rng(0).normal(3, 2, (4, 5, 5, 6)) * np.arange(1, 7)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(0, 1, INPUTS.shape).astype(np.float32)


def answers(layer: keras.layers.Layer) -> list[np.ndarray]:
    """Outputs of two trainings and one prediction, the gradients, and what the layer remembers."""
    layer.build(INPUTS.shape)
    layer.gamma.assign(np.linspace(0.5, 1.5, 6))
    layer.beta.assign(np.linspace(-1, 1, 6))
    tensors = []
    for inputs in (INPUTS, INPUTS[:1] * 2 + 1):
        watched = tensorflow.constant(inputs)
        with tensorflow.GradientTape() as tape:
            tape.watch(watched)
            outputs = layer(watched, training=True)
            loss = tensorflow.reduce_sum(tensorflow.cast(outputs, "float32") * WEIGHTS[: len(inputs)])
        tensors += [outputs, *tape.gradient(loss, [watched, layer.gamma.value, layer.beta.value])]
    tensors += [layer(INPUTS, training=False), layer.moving_mean, layer.moving_variance]
    return [keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")) for tensor in tensors]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 3e-2)])
def test_it_answers_as_keras_does(dtype: str, tolerance: float) -> None:
    options: dict[str, Any] = {"momentum": 0.9, "epsilon": 1e-5, "dtype": dtype}
    fused, plain = FusedBatchNormalization(**options), keras.layers.BatchNormalization(**options)
    for one, other in zip(answers(fused), answers(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


def operations(layer: keras.layers.Layer) -> set[str]:
    trained = tensorflow.function(lambda: layer(INPUTS, training=True)).get_concrete_function()
    return {operation.type for operation in trained.graph.get_operations()}


def test_it_is_one_operation_unless_it_is_frozen() -> None:
    fused = FusedBatchNormalization(momentum=0.9, epsilon=1e-5)
    fused.build(INPUTS.shape)
    assert "FusedBatchNormV3" in operations(fused)
    fused.trainable = False
    assert "FusedBatchNormV3" not in operations(fused)
    weights = fused.get_weights()
    fused(INPUTS, training=True)
    for one, other in zip(weights, fused.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_xla_compiles_it() -> None:
    fused = FusedBatchNormalization(momentum=0.9, epsilon=1e-5)
    fused.build(INPUTS.shape)
    compiled = tensorflow.function(lambda inputs: fused(inputs, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(tensorflow.constant(INPUTS)), fused(INPUTS, training=True), atol=1e-4)


def test_for_prediction_it_is_keras_s_own_layer() -> None:
    fused = FusedBatchNormalization(momentum=0.9, epsilon=1e-4, name="norm", dtype="mixed_bfloat16")
    plain = FusedBatchNormalization.from_config(fused.get_config()).for_prediction()
    assert type(plain) is keras.layers.BatchNormalization
    assert (plain.name, plain.momentum, plain.epsilon) == ("norm", 0.9, 1e-4)
    assert plain.compute_dtype == "bfloat16"
