"""Train the same batches with Keras and with `bench.recording.digits`, and print the largest difference per shape.

Runs in the environment with JAX; see `test_recording.py`.
"""

import json

import jax
import keras
import numpy as np

from bench.recording.digits import Choices, Shape, choices, first_state, step

STEPS, RATE = 20, 1e-2


def main() -> None:
    random = np.random.default_rng(0)
    batches = [(random.random((32, 64), np.float32), random.integers(0, 10, 32).astype(np.int32)) for _ in range(STEPS)]
    found = {}
    for optimizer in ("adam", "sgd"):
        for activation in ("relu", "tanh"):
            row = {"activation": activation, "optimizer": optimizer, "learning_rate": RATE, "dropout": 0.0}
            found[f"{optimizer}, {activation}"] = difference(choices(row), activation, optimizer, batches)
    print(json.dumps(found))  # noqa: T201 - the test reads it


def difference(of: Choices, activation: str, optimizer: str, batches: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the largest difference of a weight after the batches, without dropout, whose masks are random."""
    shape = Shape(2, 16, 32)
    state = first_state(shape, 1)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            *[keras.layers.Dense(shape.units, activation=activation) for _ in range(shape.layers)],
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.set_weights([array for layer in state[0] for array in layer])
    optimizers = {"adam": keras.optimizers.Adam(RATE), "sgd": keras.optimizers.SGD(RATE, momentum=0.9)}
    model.compile(optimizer=optimizers[optimizer], loss="sparse_categorical_crossentropy")
    key = jax.random.key(0, impl="unsafe_rbg")
    ours = jax.jit(lambda state, batch: step(state, batch, key, of))
    for batch in batches:
        model.train_on_batch(*batch)
        state = ours(state, batch)
    mine = [np.asarray(array) for layer in state[0] for array in layer]
    return max(float(np.abs(a - b).max()) for a, b in zip(mine, model.get_weights(), strict=True))


if __name__ == "__main__":
    main()
