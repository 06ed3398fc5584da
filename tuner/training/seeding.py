"""Seeds: of a trial, and of each of its epochs."""

import random
import zlib

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator


def trial_seed(study_seed: int, trial_id: str) -> int:
    """Return a trial's seed: the same for every attempt at it, another for every trial."""
    return zlib.crc32(f"{study_seed}/{trial_id}".encode()) & 0x7FFFFFFF


def seed_epoch(model: keras.Model, seed: int, epoch: int) -> None:
    """Set all random state by (seed, epoch) alone: an epoch is the same whether or not those before it ran here.

    Keras does not save the state of dropout and its like with a model. Python's and NumPy's generators, Keras's own and
    TensorFlow's for eager operations are for the `fit`, the callbacks and the augmentation of users.
    """
    numbers = np.random.default_rng((seed, epoch))
    states = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    for state in [*states, global_seed_generator().state]:
        state.assign(numbers.integers(2**31, size=state.shape))
    random.seed(int(numbers.integers(2**31)))
    np.random.seed(int(numbers.integers(2**31)))
    if keras.backend.backend() == "tensorflow":
        _seed_tensorflow(int(numbers.integers(2**31)))


def _seed_tensorflow(seed: int) -> None:
    import tensorflow
    from tensorflow.python.eager import context

    generator = tensorflow.random.get_global_generator()
    # what reset_from_seed comes to, without its operations: clear_session has dropped their kernels, which costs 3 ms
    generator.reset(np.append(seed, np.zeros(generator.state.shape[0] - 1, np.int64)))
    # not tensorflow.random.set_seed: that also rewinds the random operations of functions that were traced before, and
    # a layer's noise would be the same in each epoch
    eager = context.context()
    eager._seed, eager._rng = seed, random.Random(seed)
