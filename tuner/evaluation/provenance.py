"""The content of provenance.json, which is sufficient to train the best trial again."""

from math import nan
from typing import Annotated, Any

from pydantic import BeforeValidator

from tuner.config.formats import ABSENT, Format
from tuner.evaluation.result import ResultModel
from tuner.names import TrialId
from tuner.study.attempts import AttemptRecord

Reported = Annotated[float, BeforeValidator(lambda value: nan if value is None else value)]
"""A metric as reported. Earlier versions wrote `null` for NaN."""


class DataSet(ResultModel):
    """The data set and its splits."""

    digest: str
    """Digest of the packed data set; it determines every pixel."""

    source_digest: str
    """Digest of the files that were packed. It does not depend on the archive that contains them."""

    source: str
    decoder: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resize: tuple[int, int] | None
    convert: bool
    training_images: int
    """Number of training images, without those held out for validation."""

    validation_images: int
    test_images: int
    notes: tuple[str, ...] = ()
    """How the source was understood, for example how test images were held out."""


class Code(ResultModel):
    """The code that ran."""

    version: str
    revision: str | None
    """Commit of the source code, with `+` if files were changed; None if unknown."""

    image: str | None
    """Container image; None outside a cluster."""

    space: str
    """`module:Class`."""

    space_sha256: str | None
    """SHA-256 of the file that defines the class."""


class Machine(ResultModel):
    """The machine of the evaluator. In a cluster, the workers use the same container image."""

    python: str
    platform: str
    processor: str
    backend: str
    """Keras backend and version, for example `tensorflow 2.21.0`."""

    devices: tuple[str, ...]
    packages: dict[str, str]
    """Version of every installed package."""


class Stage(ResultModel):
    """A trial in which the best model was trained."""

    trial: TrialId
    seed: int
    hyperparameters: dict[str, Any]
    first_epoch: int
    """First epoch, from 0. It is greater than 0 if the trial continues the previous one of the list."""

    best_epoch: int
    """Epoch whose model was used."""

    epochs: int
    """Number of epochs planned."""

    metrics: dict[int, dict[str, Reported]]
    """Reported metrics by epoch."""

    attempts: tuple[AttemptRecord, ...]


class Provenance(ResultModel):
    """Everything that determines the best model."""

    format: Format = ABSENT
    study: dict[str, Any]
    """All settings, with the keys of study.yaml."""

    chiefs: int
    """Number of consecutive chiefs of the search."""

    stages: tuple[Stage, ...]
    """The best trial is the last. Others precede it only with hyperband, which continues good trials as new ones."""

    checkpoint: str
    checkpoint_sha256: str | None
    trained_with_keras: str | None
    """Keras version recorded in the saved model."""

    saved_at: str | None
    data: DataSet | None
    """None if the space brings its own data."""

    code: Code
    evaluator: Machine
