"""Keeps a change of the wall clock from stopping a training with TensorFlow."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def untuned_input() -> Iterator[None]:
    """Train without the autotuning of TensorFlow's input pipelines, which can stand still if the wall clock is changed.

    A thread tunes each pipeline, and computes its pauses from the wall clock (`Model::OptimizeLoop` in TensorFlow
    2.21). If the clock is set back by an hour, the next pause lasts an hour. At the end of an epoch the pipeline is
    destroyed, which should end the pause. But TensorFlow wakes the thread before the flag is set that the thread
    checks, so the thread often pauses again, and the training waits for it.

    Keras creates the pipelines, also for a user's own `fit`, and offers no setting. So this changes how an iteration
    over a pipeline begins. The buffers between pipeline and model still grow as needed, which needs no such thread.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow

    dataset_type = tensorflow.data.Dataset
    begin = dataset_type.__iter__
    options = tensorflow.data.Options()
    options.autotune.enabled = False
    dataset_type.__iter__ = lambda dataset: begin(dataset.with_options(options))
    try:
        yield
    finally:
        dataset_type.__iter__ = begin
