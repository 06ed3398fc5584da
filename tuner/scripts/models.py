"""Loads saved weights into the models of a script, which its own code builds again."""

import inspect
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.src.engine.tuner import maybe_distribute

from tuner import names
from tuner.scripts.session import ScriptSearch
from tuner.spaces.own_data import is_pipeline
from tuner.training import checkpoint


def load_model(search: ScriptSearch, hyperparameters: keras_tuner.HyperParameters, file: Path) -> keras.Model:
    """Return the model of the script's `build(hp)` with the saved weights.

    Raises what the script's code and Keras raise.
    """
    with maybe_distribute(search.tuner.distribution_strategy):
        model = search.tuner._build_hypermodel(without_parent(hyperparameters))
        load_weights(search, model, file)
    return model


def load_weights(search: ScriptSearch, model: keras.Model, file: Path) -> None:
    """Load saved weights into a model of the script.

    A model without an input shape is built by Keras from the shapes that were saved with it or, where Keras cannot, by
    calling it on the first training data of the script. Raises what the model's code and Keras raise.
    """
    checkpoint.build(model, file)
    if not model.built and (inputs := _first_inputs(search)) is not None:
        model(inputs, training=False)
    checkpoint.load_weights(model, file)


def without_parent(hyperparameters: keras_tuner.HyperParameters) -> keras_tuner.HyperParameters:
    """Return a copy without the id of the trial that this one continues, whose weights Hyperband would load itself."""
    copied = hyperparameters.copy()
    copied.values.pop(names.HP_PARENT, None)
    return copied


def _first_inputs(search: ScriptSearch) -> Any:
    """Return the inputs of the first sample or batch that the script trains on; None if they cannot be read twice."""
    data = search.args[0] if search.args else search.kwargs.get("x")
    if data is None or inspect.isgenerator(data):
        return None
    if is_pipeline(data) or isinstance(data, keras.utils.PyDataset):
        batch = data[0] if isinstance(data, keras.utils.PyDataset) else next(iter(data))
        return batch[0] if isinstance(batch, tuple) else batch
    return keras.tree.map_structure(lambda array: array[:1], data)
