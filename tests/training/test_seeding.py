"""TensorFlow's random state is set through private functions: it must equal what the public ones set."""

from typing import Any

import keras
import pytest

from tuner.training.seeding import _seed_tensorflow

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow's random state", allow_module_level=True)

import tensorflow
from tensorflow.python.eager import context


def state() -> tuple[Any, ...]:
    """The whole state of TensorFlow's random numbers before the first draw."""
    eager = context.context()
    generator = tensorflow.random.get_global_generator()
    return generator.state.numpy().tolist(), generator.algorithm, eager._seed, eager._rng.getstate()


def drawn() -> list[Any]:
    """Random numbers that a user's code may draw: by eager operations and by the generator, also after other draws."""
    generator = tensorflow.random.get_global_generator()
    draws = [
        tensorflow.random.uniform([4]),
        tensorflow.random.normal([4]),
        tensorflow.random.shuffle(tensorflow.range(9)),
        tensorflow.random.uniform([4]),
        generator.normal([4]),
        generator.uniform([4]),
        generator.split(2)[1].normal([4]),
    ]
    return [draw.numpy().tolist() for draw in draws]


@pytest.mark.parametrize("seed", [0, 1, 7, 12_345, 2**31 - 1])
def test_it_is_that_of_the_public_functions(seed: int) -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    tensorflow.random.get_global_generator().reset_from_seed(seed)
    theirs = state(), drawn()
    keras.utils.set_random_seed(seed + 1)
    drawn()
    keras.backend.clear_session()  # as before each trial; the kernels of the draws above would go on where they are
    _seed_tensorflow(seed)
    assert (state(), drawn()) == theirs
