"""What an evaluation found: the content of metrics.json."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from tuner.names import TrialId
from tuner.report.statistics import Interval


class Result(BaseModel):
    """Base of the parts: instances do not change; keys of a later version are ignored, not an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LeakFree(Result):
    """The accuracy on the test images that are not, byte for byte, training images as well."""

    accuracy: float | None
    """None where every test image is a training image too."""

    accuracy_interval_95: Interval | None
    images: int
    leaked_images: int
    """Test images left out, because the same file is among the training images."""


class OneClass(Result):
    """One class against the rest; 0.0 where nothing was there to divide by."""

    precision: float
    recall: float
    f1: float
    support: int
    """Test images of this class."""


class Versions(Result):
    """What the evaluation ran on."""

    cifake_tune: str
    python: str
    keras: str
    backend: str
    """Name and version, as `tensorflow 2.21.0`."""

    numpy: str


class Metrics(Result):
    """The evaluation of a study's best trial on the test split. `model_dump_json()` is metrics.json.

    Interval: (low, high), 95 %, Wilson's. Probabilities, accuracies, scores: 0 to 1.
    """

    study: str
    accuracy: float
    accuracy_interval_95: Interval
    interval_method: str = "wilson"
    images: int
    accuracy_without_leaked: LeakFree
    roc_auc: float | None
    """Two classes: of the second one's probability. More: the mean of each class against the rest. None where
    a class has no test image."""

    log_loss: float
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Images; rows: truth, columns: prediction, in the order of `classes`."""

    per_class: dict[str, OneClass]
    best_trial: TrialId
    best_epoch: int
    """From 0: the epoch whose model was evaluated."""

    hyperparameters: dict[str, Any]
    objective: str
    score: float
    """The trial's objective on the validation images, by which it was chosen."""

    validation_accuracy: float | None
    """Of the best epoch; None where the model does not report `val_accuracy`. It is optimistic: the best of
    many was taken."""

    validation_interval_95: Interval | None
    validation_images: int
    """Training images that were held out to compare trials by."""

    checkpoint: str
    """Object in the bucket of the model that was evaluated."""

    data_digest: str
    seed: int
    test_evaluations: int
    """How many models of this study have been measured on the test split, this one included. From the second on,
    a choice between them would make the accuracy optimistic."""

    versions: Versions
    duration_s: float
