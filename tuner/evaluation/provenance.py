"""Where an evaluation comes from: the content of provenance.json. It is enough to train the best trial again."""

from math import nan
from typing import Annotated, Any

from pydantic import BeforeValidator

from tuner.evaluation.result import ResultModel
from tuner.names import TrialId
from tuner.study.attempts import AttemptRecord

Reported = Annotated[float, BeforeValidator(lambda value: nan if value is None else value)]
"""A metric as it was reported. Earlier versions wrote `null` for what is no number."""


class DataSet(ResultModel):
    """The data set, and how it was divided."""

    digest: str
    """Of the packed data set: it determines every pixel."""

    source_digest: str
    """Of the files that it was packed from, whatever archive they lay in."""

    source: str
    decoder: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resize: tuple[int, int] | None
    convert: bool
    training_images: int
    """Without those held out."""

    validation_images: int
    test_images: int


class Code(ResultModel):
    """What ran."""

    version: str
    revision: str | None
    """Of the source code; None where the program does not know it. `+` at its end: with changes of somebody's."""

    image: str | None
    """Container image; None outside of a cluster."""

    space: str
    """`module:Class`."""

    space_sha256: str | None
    """Of the file that the class is in."""


class Machine(ResultModel):
    """What the evaluator ran on; in a cluster the workers have the same image."""

    python: str
    platform: str
    processor: str
    backend: str
    """Of Keras, as `tensorflow 2.21.0`."""

    devices: tuple[str, ...]
    packages: dict[str, str]
    """Version of every package that is installed."""


class Stage(ResultModel):
    """A trial that the best model was trained in."""

    trial: TrialId
    seed: int
    hyperparameters: dict[str, Any]
    first_epoch: int
    """From 0; of a trial that went on from another one, the one before it in the list, greater."""

    best_epoch: int
    """Whose model was taken."""

    epochs: int
    """How many it was to train."""

    metrics: dict[int, dict[str, Reported]]
    """By epoch, as they were reported."""

    attempts: tuple[AttemptRecord, ...]


class Provenance(ResultModel):
    """All that the best model follows from."""

    study: dict[str, Any]
    """All settings, the keys as in study.yaml."""

    chiefs: int
    """How many the search had, one after the other."""

    stages: tuple[Stage, ...]
    """The best trial is the last; there are others before it only with hyperband, which trains its best on."""

    checkpoint: str
    checkpoint_sha256: str | None
    trained_with_keras: str | None
    """As the saved model says it."""

    saved_at: str | None
    data: DataSet
    code: Code
    evaluator: Machine
