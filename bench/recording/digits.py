"""Multilayer perceptrons on scikit-learn's digits, trained many at a time with `jax.vmap`.

Networks of the same shape are trained together, because compiling a program takes longer than training a network. The
training is that of Keras: Glorot uniform weights, categorical cross-entropy of a softmax, and the formulas of Keras's
Adam and of its SGD with momentum 0.9. A test compares both.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from bench.recording.rows import Row
from bench.simulation.grid import Dimension, Grid, Scale, Value

TRAIN = 640
"""Number of training images, which all batch sizes divide. The other 1,157 are validation images: few images to learn
from and many to validate on give scores that differ by more than their noise."""
CLASSES = 10
EPOCHS = 27
BETA_1, BETA_2, EPSILON, MOMENTUM = 0.9, 0.999, 1e-7, 0.9
RANDOM = "unsafe_rbg"
"""Generator of random numbers, which compiles in a fraction of the time of JAX's default."""
TIMED = 5
"""Number of times that an epoch of a single network is timed; the shortest counts."""

GRID = Grid(
    (
        Dimension("layers", (1, 2, 3), Scale.LINEAR),
        Dimension("units", (16, 32, 64, 128, 256), Scale.LOG),
        Dimension("activation", ("relu", "tanh"), Scale.CATEGORY),
        Dimension("optimizer", ("adam", "sgd"), Scale.CATEGORY),
        Dimension("batch_size", (32, 128), Scale.ORDINAL),
        Dimension("learning_rate", (1e-4, 1e-3 / 10**0.5, 1e-3, 1e-2 / 10**0.5, 1e-2, 1e-1 / 10**0.5, 1e-1), Scale.LOG),
        Dimension("dropout", (0.0, 0.2, 0.4), Scale.LINEAR),
    )
)

Weights = list[tuple[Any, Any]]
"""Kernel and bias of each layer."""


@dataclass(frozen=True)
class Shape:
    """What networks that are trained together have in common."""

    layers: int
    units: int
    batch_size: int

    @property
    def sizes(self) -> list[int]:
        """The numbers of inputs of all layers, and of outputs of the last one."""
        return [64, *[self.units] * self.layers, CLASSES]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Choices:
    """The other hyperparameters, as numbers that a compiled program takes."""

    is_tanh: Any
    """Whether the activation is tanh; otherwise it is relu."""
    is_adam: Any
    """Whether the optimizer is Adam; otherwise it is SGD with momentum."""
    rate: Any
    """Learning rate."""
    dropout: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Digits:
    """Images of 64 pixels of 0-1, and their labels."""

    train_x: Any
    train_y: Any
    validation_x: Any
    validation_y: Any


def digits() -> Digits:
    """Return the images, divided at random."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order], jnp.int32)
    return Digits(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:])


def record(done: set[int]) -> Iterator[list[Row]]:
    """Train all networks that are not in `done`, and yield the rows of each group that was trained together."""
    data = digits()
    groups: dict[Shape, dict[int, dict[str, Value]]] = {}
    for number, row in enumerate(GRID.configurations()):
        shape = Shape(int(row["layers"]), int(row["units"]), int(row["batch_size"]))
        groups.setdefault(shape, {})[number] = row
    # the fastest groups come first, and a part of them is a complete grid, too
    for shape, group in sorted(groups.items(), key=lambda entry: (-entry[0].batch_size, entry[0].units)):
        if done.issuperset(group):
            continue
        right = trained(shape, data, list(group), [choices(row) for row in group.values()])
        epoch_s = seconds_per_epoch(shape, data)
        yield [
            Row(number, [int(count) for count in curve], round(epoch_s, 6), shape.parameters)
            for number, curve in zip(group, right, strict=True)
        ]


def choices(row: Mapping[str, Value]) -> Choices:
    """Return the hyperparameters of a configuration that do not belong to its shape."""
    return Choices(
        is_tanh=np.bool_(row["activation"] == "tanh"),
        is_adam=np.bool_(row["optimizer"] == "adam"),
        rate=np.float32(row["learning_rate"]),
        dropout=np.float32(row["dropout"]),
    )


def trained(shape: Shape, data: Digits, numbers: Sequence[int], of: Sequence[Choices]) -> np.ndarray[Any, Any]:
    """Return how many validation images each network classifies correctly after each epoch."""
    keys = [jax.random.key(number, impl=RANDOM) for number in numbers]
    states = _stacked([first_state(shape, number) for number in numbers])
    epoch = jax.jit(jax.vmap(partial(_epoch, shape), in_axes=(None, 0, 0, 0, 0)))
    right, chosen = [], _stacked(of)
    for number in range(EPOCHS):
        orders = np.stack([_order(configuration, number, shape.batch_size) for configuration in numbers])
        epoch_keys = jnp.stack([jax.random.fold_in(key, number) for key in keys])
        states, count = epoch(data, states, orders, epoch_keys, chosen)
        right.append(np.asarray(count))
    return np.stack(right, axis=1)


def seconds_per_epoch(shape: Shape, data: Digits) -> float:
    """Return the seconds that an epoch of a single network takes, with its validation."""
    epoch = jax.jit(partial(_epoch, shape))
    chosen = choices({"activation": "relu", "optimizer": "adam", "learning_rate": 1e-3, "dropout": 0.2})
    arguments = (first_state(shape, 0), _order(0, 0, shape.batch_size), jax.random.key(0, impl=RANDOM), chosen)
    jax.block_until_ready(epoch(data, *arguments))
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        jax.block_until_ready(epoch(data, *arguments))
        times.append(time.perf_counter() - began)
    return min(times)


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _order(configuration: int, epoch: int, batch_size: int) -> np.ndarray[Any, Any]:
    """Return the indices of each batch of an epoch."""
    return np.random.default_rng((configuration, epoch)).permutation(TRAIN).astype(np.int32).reshape(-1, batch_size)


def first_state(shape: Shape, seed: int) -> Any:
    """Return Keras's initial weights (Glorot uniform kernels and zeros), the optimizer's moments, and no steps."""
    random = np.random.default_rng(seed)
    weights: Weights = []
    for inputs, outputs in pairwise(shape.sizes):
        limit = (6 / (inputs + outputs)) ** 0.5
        kernel = random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
        weights.append((kernel, np.zeros(outputs, np.float32)))
    zeros = jax.tree.map(np.zeros_like, weights)
    return weights, zeros, zeros, np.float32(0)


def step(state: Any, batch: tuple[Any, Any], key: Any, of: Choices) -> Any:
    """Train one batch. `state` is the weights, the optimizer's first and second moments, and the number of steps."""
    weights, first, second, steps = state
    gradients = jax.grad(_loss)(weights, batch, key, of)
    steps = steps + 1
    alpha = of.rate * jnp.sqrt(1 - BETA_2**steps) / (1 - BETA_1**steps)

    def momentum(m: Any, g: Any) -> Any:
        return jnp.where(of.is_adam, m + (g - m) * (1 - BETA_1), MOMENTUM * m - of.rate * g)

    def updated(w: Any, m: Any, v: Any) -> Any:
        return w + jnp.where(of.is_adam, -alpha * m / (jnp.sqrt(v) + EPSILON), m)

    first = jax.tree.map(momentum, first, gradients)
    second = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - BETA_2), second, gradients)
    return jax.tree.map(updated, weights, first, second), first, second, steps


def _loss(weights: Weights, batch: tuple[Any, Any], key: Any, of: Choices) -> Any:
    x, y = batch
    log_probabilities = jax.nn.log_softmax(_logits(weights, x, of, key))
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def _logits(weights: Weights, x: Any, of: Choices, key: Any = None) -> Any:
    """Return the outputs before the softmax; units are dropped after each hidden layer if there is a key."""
    for kernel, bias in weights[:-1]:
        x = x @ kernel + bias
        x = jnp.where(of.is_tanh, jnp.tanh(x), jax.nn.relu(x))
        if key is not None:
            key, layer_key = jax.random.split(key)
            kept = jax.random.uniform(layer_key, x.shape) >= of.dropout
            x = jnp.where(kept, x / (1 - of.dropout), 0)
    kernel, bias = weights[-1]
    return x @ kernel + bias


def _epoch(shape: Shape, data: Digits, state: Any, order: Any, key: Any, of: Choices) -> tuple[Any, Any]:
    """Train one epoch, and return the state and the number of correctly classified validation images."""

    def body(state: Any, batch: tuple[Any, Any]) -> tuple[Any, None]:
        indices, batch_key = batch
        return step(state, (data.train_x[indices], data.train_y[indices]), batch_key, of), None

    state, _ = jax.lax.scan(body, state, (order, jax.random.split(key, TRAIN // shape.batch_size)))
    predictions = _logits(state[0], data.validation_x, of).argmax(axis=1)
    return state, (predictions == data.validation_y).sum()
