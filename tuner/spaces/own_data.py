"""The data that a space brings: what its method `data(self, part)` returns, checked.

A part is arrays `(x, y)` or `(x, y, sample_weight)`, a `keras.utils.PyDataset` or a `tf.data.Dataset`. In the tuple,
each of x and y may also be a dict or a list of arrays, as for `model.fit`.
"""

import copy
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import keras
import keras_tuner
import numpy as np

from tuner.errors import EnvironmentFailure, PreemptedError, SpaceError
from tuner.spaces.error_cause import cause_of

log = logging.getLogger(__name__)

SHARED_BYTES = 16 << 20
"""Size from which an array of a PyDataset is not copied for each trial. Indices that it shuffles are smaller."""
FORMS = "arrays (x, y) or (x, y, sample_weight), a keras.utils.PyDataset or a tf.data.Dataset"
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_INFINITE, _UNKNOWN = -1, -2
"""Cardinalities of a tf.data.Dataset."""


class Part(StrEnum):
    """A part of a space's own data."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"  # read by the evaluator only


@dataclass(frozen=True, eq=False)
class OwnPart:
    """One part of a space's own data, as the space returned it, but with NumPy arrays."""

    data: Any
    """A tuple of arrays (or of dicts or lists of arrays), a PyDataset or a tf.data.Dataset."""
    count: int | None
    """Number of samples; None if the part is not arrays."""
    batches: int | None
    """Number of batches; None if the part is arrays, or a pipeline whose length is unknown."""

    @property
    def is_arrays(self) -> bool:
        """Whether the part is arrays, which are not batched yet."""
        return self.count is not None

    def as_returned(self) -> "OwnPart":
        """Return the part with a copy of its PyDataset, which may be changed and shares its large arrays.

        Keras lets a dataset change itself after each epoch. It is loaded once for all trials of a process, and a trial
        must not depend on those before it.
        """
        if not isinstance(self.data, keras.utils.PyDataset):
            return self
        arrays = vars(self.data).values()
        shared = {id(value): value for value in arrays if getattr(value, "nbytes", 0) >= SHARED_BYTES}
        try:
            return replace(self, data=copy.deepcopy(self.data, shared))
        except Exception as error:
            log.warning("the PyDataset cannot be copied (%s), so its changes in one trial remain for the next", error)
            return self

    def describe(self) -> str:
        """Return the size of the part."""
        if self.count is not None:
            return f"{self.count:,} samples"
        return "a pipeline of unknown length" if self.batches is None else f"{self.batches:,} batches"


@dataclass(frozen=True)
class OwnTrainingData:
    """The parts on which a space's models are trained and compared."""

    train: OwnPart
    validation: OwnPart


def load_training_parts(space: keras_tuner.HyperModel, seed: int) -> OwnTrainingData:
    """Return the space's data for training and validation. Raises as `load_part` does."""
    return OwnTrainingData(load_part(space, Part.TRAIN, seed), load_part(space, Part.VALIDATION, seed))


def load_part(space: keras_tuner.HyperModel, part: Part, seed: int) -> OwnPart:
    """Return a part of the space's own data.

    All random generators are seeded before each call, so that a space which splits its data at random gets the same
    split in every process and for every part. Otherwise, validation samples of one call would be training samples of
    another.

    Args:
        space: The space, which has a method `data`.
        part: The part.
        seed: The seed.

    Raises:
        SpaceError: `data` failed, or returned something that cannot be trained on.
        EnvironmentFailure: A file system or a network failed, so that a retry may succeed.
    """
    keras.utils.set_random_seed(seed)
    try:
        data = space.data(part.value)
    except PreemptedError:
        raise
    except OSError as error:
        if isinstance(error, _ABSENT):
            raise _failed(part, error) from error
        raise EnvironmentFailure(f"the space's data({part.value!r}) fails ({cause_of(error)}). Try again.") from error
    except Exception as error:
        raise _failed(part, error) from error
    try:
        return _checked(data)
    except ValueError as error:
        raise SpaceError(f"the space's data({part.value!r}) {error}") from None


def _failed(part: Part, error: Exception) -> SpaceError:
    return SpaceError(f"the space's data({part.value!r}) fails ({cause_of(error)}). Fix it.")


def _checked(data: Any) -> OwnPart:
    """Return the part. Raises ValueError with the rest of a sentence that begins with the method's name."""
    if isinstance(data, keras.utils.PyDataset):
        batches = data.num_batches
        if batches is None:
            raise ValueError("returned a PyDataset without an end. Return the number of batches from its __len__().")
        if not batches:
            raise ValueError("returned an empty PyDataset. Return at least one batch.")
        return OwnPart(data, None, int(batches))
    if is_pipeline(data):
        batches = int(data.cardinality())
        if batches == _INFINITE:
            raise ValueError("returned a tf.data.Dataset without an end. Remove repeat(): an epoch is one iteration.")
        if not batches:
            raise ValueError("returned an empty tf.data.Dataset. Return at least one batch.")
        return OwnPart(data, None, None if batches == _UNKNOWN else batches)
    if isinstance(data, tuple | list) and len(data) in (2, 3):
        return _arrays(data)
    what = f"a {type(data).__name__} of {len(data)}" if isinstance(data, tuple | list) else type(data).__name__
    raise ValueError(f"must return {FORMS}, got {what}.")


def is_pipeline(data: Any) -> bool:
    """Return whether an object is a tf.data.Dataset, without importing TensorFlow."""
    kinds = type(data).__mro__
    return any(kind.__name__ == "DatasetV2" and kind.__module__.startswith("tensorflow.") for kind in kinds)


def _arrays(data: Sequence[Any]) -> OwnPart:
    names = ("x", "y", "sample_weight")
    converted = [_structure(value, name) for value, name in zip(data, names, strict=False) if value is not None]
    if len(converted) < 2:
        raise ValueError(f"returned None for x or y. Return {FORMS}.")
    counts = {
        f"{name} has {len(leaf):,}": len(leaf)
        for name, value in zip(names, converted, strict=False)
        for leaf in keras.tree.flatten(value)
    }
    if len(set(counts.values())) > 1:
        raise ValueError(f"returned arrays of different lengths: {', '.join(counts)} samples. Return one y for each x.")
    count = next(iter(counts.values()), 0)
    if not count:
        raise ValueError("returned arrays without samples. Return at least one sample.")
    return OwnPart(tuple(converted), count, None)


def _structure(value: Any, name: str) -> Any:
    """Return the arrays of a value, which is an array, or a dict, tuple or list of arrays."""
    if isinstance(value, dict):
        return {key: _structure(inner, name) for key, inner in value.items()}
    if isinstance(value, tuple | list) and value and all(_is_array(inner) for inner in value):
        return tuple(np.asarray(inner) for inner in value)
    if isinstance(value, tuple | list):  # numbers, as in y = [0, 1, 1]
        value = np.asarray(value)
    if not _is_array(value):
        raise ValueError(f"returned {type(value).__name__} as {name}. Return arrays (numpy.asarray).")
    return np.asarray(value)  # memory-mapped arrays are not read


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and bool(np.ndim(value))


def seed_generators(seed: Sequence[int]) -> None:
    """Seed the generators of Python and NumPy, which a PyDataset may use between two epochs."""
    numbers = np.random.default_rng(tuple(seed))
    random.seed(int(numbers.integers(2**31)))
    np.random.seed(int(numbers.integers(2**31)))
