"""What an evaluation found: the content of metrics.json."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from tuner.evaluation.scores import Interval
from tuner.names import TrialId


class ResultModel(BaseModel):
    """Base of the parts: instances do not change; keys of a later version are ignored, not an error.

    Numbers of users' may be infinite or none, and are written as the journal writes them: `Infinity`, `NaN`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")


class LeakFree(ResultModel):
    """The accuracy on the test images that are not, byte for byte, training images as well."""

    accuracy: float | None
    """None where every test image is a training image too."""

    accuracy_interval_95: Interval | None
    images: int
    leaked_images: int
    """Test images left out, because the same file is among the training images."""


class WithFlips(ResultModel):
    """Where each test image and its mirror image are predicted, and the mean of both probabilities counts."""

    accuracy: float
    accuracy_interval_95: Interval


class OneClass(ResultModel):
    """One class against the rest; 0.0 where nothing was there to divide by."""

    precision: float
    recall: float
    f1: float
    support: int
    """Test images of this class."""


class Versions(ResultModel):
    """What the evaluation ran on."""

    cifake_tune: str
    python: str
    keras: str
    backend: str
    """Name and version, as `tensorflow 2.21.0`."""

    numpy: str


class Bin(ResultModel):
    """The test images whose confidence, the probability of the class predicted, is in (low, high]."""

    low: float
    high: float
    images: int
    confidence: float
    """Their mean."""

    accuracy: float
    accuracy_interval_95: Interval


class Fit(StrEnum):
    """What became of the fit of a temperature."""

    FITTED = "fitted"
    AT_BOUND = "at_bound"  # the smallest or largest that is tried: beyond may be better
    NOT_NEEDED = "not_needed"  # its interval has 1 in it, so it stays 1
    TOO_FEW_MISTAKES = "too_few_mistakes"  # the model is surer to be right than it says, by who knows how much: 1


class Calibration(ResultModel):
    """Whether the model is right as often as it says, on the test images."""

    temperature: float
    """What the logits are to be divided by: fitted on the validation images; above 1 the model was too sure; 1 where
    `fit` says that they give no other."""

    fit: Fit | None = None
    """None in an evaluation of a version that did not say."""

    temperature_interval_95: Interval | None = None
    """By the likelihood ratio, within the bounds; None as above."""

    fitted_on_images: int
    fitted_on_mistakes: int | None = None
    """How many of these images the model got wrong; None as above."""

    error: float
    """Expected calibration error (ECE), 15 bins of equal width."""

    error_at_temperature: float
    log_loss_at_temperature: float
    bins: tuple[Bin, ...]
    """Those that hold images."""

    bins_at_temperature: tuple[Bin, ...]

    @property
    def changes(self) -> bool:
        """Whether the probabilities at the temperature are others than the model's own."""
        return self.temperature != 1


class Bootstrap(ResultModel):
    """95 % intervals from drawing the test images again with replacement (percentiles)."""

    resamples: int
    seed: int
    accuracy: Interval
    roc_auc: Interval | None
    """None where there is none, or more than 10 classes."""

    log_loss: Interval
    calibration_error: Interval
    """Of the probabilities as the model gives them. The estimate has a bias upwards, and so has the interval."""


class ObjectClass(ResultModel):
    """The test images that show one kind of object, both real and generated ones."""

    name: str
    """CIFAR-10's name for it."""

    images: int
    accuracy: float
    accuracy_interval_95: Interval
    accuracy_by_class: dict[str, float]
    """Of the images of each class."""


class RunnerUp(ResultModel):
    """The second best trial's model on the same test images, against the best one's."""

    trial: TrialId
    score: float
    accuracy: float
    accuracy_interval_95: Interval
    only_best_right: int
    """Images."""

    only_runner_up_right: int
    p_value: float
    """McNemar's exact test, two-sided: how likely a difference as large as this is where the models are equally
    good."""

    difference: float
    """Accuracy of the best less that of the runner-up."""

    difference_interval_95: Interval
    """Bonett and Price's, paired."""


class Disturbed(ResultModel):
    """The accuracy on test images that something was done to."""

    disturbance: str
    """Its name; `none` is the first."""

    accuracy: float
    accuracy_interval_95: Interval
    recall: dict[str, float]
    """By class."""

    changed: float
    """Share of the images whose prediction is another one than undisturbed."""


class Robustness(ResultModel):
    """What recompression, blur, noise and the like do to the accuracy: on test images chosen by the study's seed."""

    images: int
    seed: int
    samples: int = 0
    """Rows of robustness_samples.png."""

    disturbances: tuple[Disturbed, ...]


class WrongImage(ResultModel):
    """A test image for whose class the model gave little probability."""

    name: str
    label: str
    prediction: str
    probability: float
    """Of the prediction."""


class RocCurve(ResultModel):
    """An ROC curve: one class against the others, at falling thresholds; 200 points at most."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


class TrainingProfile(ResultModel):
    """What the training images are like, to tell images that are not."""

    height: int
    width: int
    formats: tuple[str, ...]
    """As in JPEG, by the names of the files."""

    resized: bool
    """They had other sizes before they were packed."""

    brightness: Interval
    """Mean pixel (0-255) of all but the darkest and brightest in 1,000 of the validation images."""

    contrast: Interval
    """The same of the pixels' standard deviation."""

    saturation: Interval
    """The same of the mean of how far apart the largest and smallest of the three colours of a pixel are."""


class Metrics(ResultModel):
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

    # None in an evaluation of a version that did not measure this yet, or for the reason said
    bootstrap: Bootstrap | None = None
    calibration: Calibration | None = None
    objects: tuple[ObjectClass, ...] | None = None
    """None where the files are not named as CIFAKE's are."""

    runner_up: RunnerUp | None = None
    """None where no other trial has a model that can be compared."""

    robustness: Robustness | None = None
    """None where evaluation.robustness_images is 0."""

    most_wrong: tuple[WrongImage, ...] | None = None
    """Surest mistakes first, as they stand in most_wrong.png."""

    roc_curves: dict[str, RocCurve] | None = None
    """Of two classes, the second; of up to ten, each; only those with images on both sides."""

    familiar: TrainingProfile | None = None
    with_flips: WithFlips | None = None
    not_made: tuple[str, ...] = ()
    """Files, only to be looked at, that could not be made; the evaluator's log says why."""
