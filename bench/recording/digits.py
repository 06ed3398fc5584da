"""Multilayer perceptrons on scikit-learn's digits, trained many at a time with `jax.vmap`.

Networks that differ only in numbers (learning rate, dropout) are trained together. The training is that of Keras:
Glorot uniform weights, categorical cross-entropy of a softmax, and the formulas of Keras's Adam and of its SGD with
momentum 0.9. A test compares both.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from bench.recording.rows import Row
from bench.simulation.grid import Dimension, Grid, Scale

TRAIN = 640
"""Number of training images, which all batch sizes divide. The other 1,157 are validation images: few images to learn
from and many to validate on give scores that differ by more than their noise."""
CLASSES = 10
EPOCHS = 27
BETA_1, BETA_2, EPSILON, MOMENTUM = 0.9, 0.999, 1e-7, 0.9
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
    activation: str
    optimizer: str
    batch_size: int

    @property
    def sizes(self) -> list[int]:
        """The numbers of inputs of all layers, and of outputs of the last one."""
        return [64, *[self.units] * self.layers, CLASSES]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        sizes = self.sizes
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Digits:
    """Images of 64 pixels of 0-1, and their labels."""

    train_x: Any
    train_y: Any
    validation_x: Any
    validation_y: Any

    @property
    def validation(self) -> int:
        """Number of validation images."""
        return len(self.validation_y)


def digits() -> Digits:
    """Return the images, divided at random."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order], jnp.int32)
    return Digits(x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:])


def record(done: set[int]) -> Iterator[list[Row]]:
    """Train all networks that are not in `done`, and yield the rows of each group that was trained together."""
    data = digits()
    numbered = list(enumerate(GRID.configurations()))
    shaped = [(Shape(**{key: row[key] for key in Shape.__annotations__}), number, row) for number, row in numbered]
    groups = [(shape, list(group)) for shape, group in groupby(shaped, key=lambda entry: entry[0])]
    # all groups of the largest batch size come first, so that half a recording is a complete grid, too
    for shape, group in sorted(groups, key=lambda group: -group[0].batch_size):
        if done.issuperset(number for _, number, _ in group):
            continue
        numbers = [number for _, number, _ in group]
        rates = jnp.array([row["learning_rate"] for *_, row in group], jnp.float32)
        dropouts = jnp.array([row["dropout"] for *_, row in group], jnp.float32)
        right = trained(shape, data, numbers, rates, dropouts)
        epoch_s = seconds_per_epoch(shape, data)
        yield [
            Row(number, [int(count) for count in curve], round(epoch_s, 6), shape.parameters)
            for number, curve in zip(numbers, right, strict=True)
        ]


def trained(shape: Shape, data: Digits, numbers: Sequence[int], rates: Any, dropouts: Any) -> np.ndarray[Any, Any]:
    """Return how many validation images each network classifies correctly after each epoch."""
    keys = [jax.random.key(number, impl="unsafe_rbg") for number in numbers]  # compiles in a fraction of the time
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *[first_state(shape, number) for number in numbers])
    epoch = jax.jit(jax.vmap(partial(_epoch, shape), in_axes=(None, 0, 0, 0, 0, 0)))
    right = []
    for number in range(EPOCHS):
        orders = jnp.stack([_order(configuration, number, shape.batch_size) for configuration in numbers])
        epoch_keys = jnp.stack([jax.random.fold_in(key, number) for key in keys])
        states, count = epoch(data, states, orders, epoch_keys, rates, dropouts)
        right.append(np.asarray(count))
    return np.stack(right, axis=1)


def seconds_per_epoch(shape: Shape, data: Digits) -> float:
    """Return the seconds that an epoch of a single network takes, with its validation."""
    epoch = jax.jit(partial(_epoch, shape))
    key = jax.random.key(0, impl="unsafe_rbg")
    arguments = (first_state(shape, 0), _order(0, 0, shape.batch_size), key, jnp.float32(1e-3), jnp.float32(0.2))
    jax.block_until_ready(epoch(data, *arguments))
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        jax.block_until_ready(epoch(data, *arguments))
        times.append(time.perf_counter() - began)
    return min(times)


def _order(configuration: int, epoch: int, batch_size: int) -> Any:
    """Return the indices of each batch of an epoch."""
    return np.random.default_rng((configuration, epoch)).permutation(TRAIN).astype(np.int32).reshape(-1, batch_size)


def first_state(shape: Shape, seed: int) -> Any:
    """Return Keras's initial weights (Glorot uniform kernels and zeros), the optimizer's moments, and no steps."""
    sizes, random = shape.sizes, np.random.default_rng(seed)
    weights: Weights = []
    for inputs, outputs in pairwise(sizes):
        limit = (6 / (inputs + outputs)) ** 0.5
        kernel = random.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
        weights.append((kernel, np.zeros(outputs, np.float32)))
    zeros = jax.tree.map(np.zeros_like, weights)
    return weights, zeros, zeros, np.float32(0)


def step(shape: Shape, state: Any, batch: tuple[Any, Any], key: Any, rate: Any, dropout: Any) -> Any:
    """Train one batch. `state` is the weights, the optimizer's first and second moments, and the number of steps."""
    weights, first, second, steps = state
    gradients = jax.grad(_loss)(weights, shape, batch, key, dropout)
    steps = steps + 1
    if shape.optimizer == "sgd":
        first = jax.tree.map(lambda m, g: MOMENTUM * m - rate * g, first, gradients)
        return jax.tree.map(jnp.add, weights, first), first, second, steps
    alpha = rate * jnp.sqrt(1 - BETA_2**steps) / (1 - BETA_1**steps)
    first = jax.tree.map(lambda m, g: m + (g - m) * (1 - BETA_1), first, gradients)
    second = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - BETA_2), second, gradients)
    weights = jax.tree.map(lambda w, m, v: w - alpha * m / (jnp.sqrt(v) + EPSILON), weights, first, second)
    return weights, first, second, steps


def _loss(weights: Weights, shape: Shape, batch: tuple[Any, Any], key: Any, dropout: Any) -> Any:
    x, y = batch
    log_probabilities = jax.nn.log_softmax(_logits(weights, shape, x, key, dropout))
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def _logits(weights: Weights, shape: Shape, x: Any, key: Any = None, dropout: Any = None) -> Any:
    """Return the outputs before the softmax; units are dropped after each hidden layer if there is a key."""
    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[shape.activation]
    for kernel, bias in weights[:-1]:
        x = activation(x @ kernel + bias)
        if key is not None:
            key, layer_key = jax.random.split(key)
            kept = jax.random.uniform(layer_key, x.shape) >= dropout
            x = jnp.where(kept, x / (1 - dropout), 0)
    kernel, bias = weights[-1]
    return x @ kernel + bias


def _epoch(shape: Shape, data: Digits, state: Any, order: Any, key: Any, rate: Any, dropout: Any) -> tuple[Any, Any]:
    """Train one epoch, and return the state and the number of correctly classified validation images."""

    def body(state: Any, batch: tuple[Any, Any]) -> tuple[Any, None]:
        indices, batch_key = batch
        samples = (data.train_x[indices], data.train_y[indices])
        return step(shape, state, samples, batch_key, rate, dropout), None

    state, _ = jax.lax.scan(body, state, (order, jax.random.split(key, len(order))))
    predictions = _logits(state[0], shape, data.validation_x).argmax(axis=1)
    return state, (predictions == data.validation_y).sum()
