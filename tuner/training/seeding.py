"""Seeds of a trial and of each of its epochs."""

import random
import zlib

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator


def trial_seed(study_seed: int, trial_id: str) -> int:
    """Return a trial's seed, which is the same for all its attempts but differs between trials."""
    return zlib.crc32(f"{study_seed}/{trial_id}".encode()) & 0x7FFFFFFF


def seed_epoch(model: keras.Model, seed: int, epoch: int) -> None:
    """Set all random state from (seed, epoch), so that an epoch does not depend on earlier epochs in this process.

    Keras does not save the random state of dropout and similar layers with a model. The generators of Python, NumPy,
    Keras and TensorFlow (eager) are seeded, too, because a user's `fit`, callbacks and augmentation may use them.
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
    # like reset_from_seed, but without its operations, whose kernels clear_session has dropped (saves 3 ms)
    generator.reset(np.append(seed, np.zeros(generator.state.shape[0] - 1, np.int64)))
    # tensorflow.random.set_seed would also reset the random operations of functions that were traced earlier, so a
    # layer's noise would be the same in each epoch
    eager = context.context()
    eager._seed, eager._rng = seed, random.Random(seed)
