"""Checkpoints: the .keras file of a model, which also contains the state of its trial.

The file is a zip archive. Keras's members contain the weights and the optimizer's state. `cifake_tune.json` contains
the epoch, the metrics of all epochs so far, and the seed. Seed and epoch determine all random state
(`tuner.training.seeding`). Nothing is pickled. The file of a script's model has only the weights, because the script
builds its models again.
"""

import contextlib
import functools
import hashlib
import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuner.config.formats import Versioned
from tuner.errors import EnvironmentFailure
from tuner.spaces.loadable import unloadable
from tuner.training.faults import SharedFaultError

MEMBER = "cifake_tune.json"
_WEIGHTS, _SHAPES = "model.weights.h5", "build_config.json"


class DamagedCheckpointError(Exception):
    """The file differs from what `save` wrote. The message says how."""


class CheckpointState(Versioned):
    """State of a trial, stored in the same file as its model."""

    epoch: int
    """Last epoch that the model was trained for, from 0."""
    seed: int
    history: dict[int, dict[str, float]]
    """Metrics of this trial's epochs up to `epoch`."""
    verified: bool | None = None
    """See `tuner.study.evidence`. Evidence for the objective of `epoch`."""
    returned: bool = False
    """The same."""


def save(model: Any, state: CheckpointState, path: Path) -> None:
    """Write a Keras model and its trial's state to `path`, which ends in .keras. Raises as `save_model` does."""
    save_model(model, path)
    add_state(state, path)


def save_model(model: Any, path: Path) -> None:
    """Write a Keras model to `path`, without the state of its trial.

    Raises EnvironmentFailure if the file cannot be written, and SharedFaultError if Keras cannot save such a model.
    """
    _cache_skipsets()
    with _removed_if_cut_short(path):
        try:
            model.save(path)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise SharedFaultError(
                f"the model cannot be saved, so it cannot be evaluated. {unloadable(error)}"
            ) from error


def save_weights(model: Any, path: Path) -> None:
    """Write the weights of a model and of its optimizer to `path`, for a model that its code builds again.

    Raises EnvironmentFailure if the file cannot be written.
    """
    weights = path.with_suffix(".weights.h5")
    with _removed_if_cut_short(path), _removed_if_cut_short(weights), zipfile.ZipFile(path, "w") as archive:
        model.save_weights(weights)
        archive.write(weights, _WEIGHTS)  # the member in which Keras looks for the weights of a .keras file
        archive.writestr(_SHAPES, json.dumps(model.get_build_config() or {}))
        weights.unlink()


def build(model: Any, path: Path) -> None:
    """Create the weights of a model without an input shape, from what `save_weights` wrote, if Keras can do that."""
    if not model.built:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns if it cannot
            model.build_from_config(json.loads(archive.read(_SHAPES)))


def load_weights(model: Any, path: Path) -> None:
    """Load the weights of a checkpoint into a built model and its optimizer.

    Raises Keras's errors if the model has other weights.
    """
    optimizer = getattr(model, "optimizer", None)  # a model that is not compiled has no such attribute
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    model.load_weights(path)


def add_state(state: CheckpointState, path: Path) -> None:
    """Add the trial's state to a saved model. Raises EnvironmentFailure if the file cannot be written."""
    with _removed_if_cut_short(path), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, state.model_dump_json())


@contextlib.contextmanager
def _removed_if_cut_short(path: Path) -> Iterator[None]:
    """Raise EnvironmentFailure if the block raises an OSError, and remove the file, because it would use up space."""
    try:
        yield
    except OSError as error:
        path.unlink(missing_ok=True)
        raise EnvironmentFailure(
            f"the model cannot be saved to {path} ({error.strerror or error}). Check the free space there."
        ) from error


def _cache_skipsets() -> None:
    """Halve the time that it takes to save a small model.

    Keras 3.13 stores which attributes to skip under one name and looks them up under another, so each save creates a
    layer and an optimizer only to list their attributes. The lists depend only on the class, so they are cached.
    """
    from keras.src.saving import saving_lib

    get_skipset = getattr(saving_lib, "get_attr_skipset", None)
    if get_skipset is not None and not hasattr(get_skipset, "cache_info"):
        saving_lib.get_attr_skipset = functools.cache(get_skipset)


def read_progress(path: Path) -> CheckpointState:
    """Return the trial's state after verifying every member's CRC.

    Raises DamagedCheckpointError, and NewerFormatError if the state has a newer major version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise DamagedCheckpointError(f"the checksum of its member {damaged} does not match")
            return CheckpointState.model_validate_json(archive.read(MEMBER))
    except ValidationError:
        raise DamagedCheckpointError(f"its {MEMBER} cannot be parsed") from None
    except KeyError:
        raise DamagedCheckpointError(f"it has no {MEMBER}") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise DamagedCheckpointError(f"it is not an intact zip archive ({error})") from None


def sha256(path: Path) -> str:
    """Return the file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
