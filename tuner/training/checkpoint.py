"""A checkpoint: the .keras file of a model, and what its trial needs to go on from there.

Weights and optimizer are Keras's members of the zip; `cifake_tune.json` has the epoch, the metrics of all epochs so
far, and the seed, from which and the epoch alone its random state follows (`tuner.training.loop`). Nothing is pickled.
"""

import functools
import hashlib
import zipfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tuner.errors import EnvironmentFailure

MEMBER = "cifake_tune.json"


class DamagedCheckpointError(Exception):
    """The file is not what `save` wrote; the message says in what."""


class CheckpointState(BaseModel):
    """How far a trial is with the model that it lies beside."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    version: Literal[1] = 1
    epoch: int
    """The last one that the model was trained for, from 0."""
    seed: int
    history: dict[int, dict[str, float]]
    """Metrics of this trial's epochs up to `epoch`."""


def save(model: Any, progress: CheckpointState, path: Path) -> None:
    """Write a Keras model and its progress to `path`, which ends in .keras.

    Raises EnvironmentFailure where the disk refuses.
    """
    _remember_skipsets()
    try:
        model.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(MEMBER, progress.model_dump_json())
    except OSError as error:
        raise EnvironmentFailure(f"the model cannot be saved to {path}: {error.strerror or error}.") from error


def _remember_skipsets() -> None:
    """Halve the time of a small model's save.

    Keras 3.13 keeps which attributes to skip under one name and looks for it under another, so each save makes a layer
    and an optimizer anew, only to list their attributes. These depend on the class alone.
    """
    from keras.src.saving import saving_lib

    found = getattr(saving_lib, "get_attr_skipset", None)
    if found is not None and not hasattr(found, "cache_info"):
        saving_lib.get_attr_skipset = functools.cache(found)


def read_progress(path: Path) -> CheckpointState:
    """Return what lies beside the model, every member's CRC verified. Raises DamagedCheckpointError."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise DamagedCheckpointError(f"its member {damaged} has another checksum")
            return CheckpointState.model_validate_json(archive.read(MEMBER))
    except ValidationError:
        raise DamagedCheckpointError(f"its {MEMBER} cannot be understood") from None
    except KeyError:
        raise DamagedCheckpointError(f"it has no {MEMBER}") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        raise DamagedCheckpointError(f"it is no intact zip archive ({error})") from None


def sha256(path: Path) -> str:
    """Return the file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
