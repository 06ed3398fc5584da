"""The result of an evaluation: the content of metrics.json."""

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from tuner.config.formats import ABSENT, Format
from tuner.evaluation.confirmed import ConfirmedTrial
from tuner.evaluation.numbers import ROUNDING, Amount, Change, Count, Range, Share, ShareInterval, is_same
from tuner.names import TrialId


class ResultModel(BaseModel):
    """Base class of all parts. Instances are frozen. Unknown keys of a later version are ignored.

    Users' metrics may be infinite or NaN. They are written as `Infinity` and `NaN`, as in the journal. All other
    numbers are finite and possible (`tuner.evaluation.numbers`), so a damaged or forged file is not shown as a result.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")


class LeakFree(ResultModel):
    """The accuracy on the test images that are not byte-identical to a training image."""

    accuracy: Share | None
    """None if every test image is a training image too."""

    accuracy_interval_95: ShareInterval | None
    images: Count
    leaked_images: Count
    """Number of test images left out because the same file is among the training images."""


class WithFlips(ResultModel):
    """The accuracy when the predictions for each test image and for its mirror image are averaged."""

    accuracy: Share
    accuracy_interval_95: ShareInterval


class OneClass(ResultModel):
    """Scores of one class against the rest. A score is 0.0 if it would be a division by zero."""

    precision: Share
    recall: Share
    f1: Share
    support: Count
    """Number of test images of this class."""


class Versions(ResultModel):
    """Versions of the software that ran the evaluation."""

    cifake_tune: str
    python: str
    keras: str
    backend: str
    """Name and version, for example `tensorflow 2.21.0`."""

    numpy: str


class Bin(ResultModel):
    """The test images whose confidence (probability of the predicted class) is in (low, high]."""

    low: Share
    high: Share
    images: Count
    confidence: Share
    """Mean confidence."""

    accuracy: Share
    accuracy_interval_95: ShareInterval


class Fit(StrEnum):
    """Outcome of fitting a temperature."""

    FITTED = "fitted"
    AT_BOUND = "at_bound"  # the smallest or largest temperature tried; the best one may lie beyond
    NOT_NEEDED = "not_needed"  # the interval contains 1, so the temperature stays 1
    TOO_FEW_MISTAKES = "too_few_mistakes"  # underconfident by an unknown amount, so the temperature stays 1


class Calibration(ResultModel):
    """How well the model's confidence matches its accuracy on the test images."""

    temperature: Amount
    """Divisor of the logits, fitted on the validation images. Above 1, the model was overconfident. 1 if no temperature
    was fitted (see `fit`)."""

    fit: Fit | None = None
    """None in evaluations by versions that did not record the outcome."""

    temperature_interval_95: Range | None = None
    """Likelihood-ratio interval, within the temperatures tried. None under the same condition as `fit`."""

    fitted_on_images: Count
    fitted_on_mistakes: Count | None = None
    """Number of the validation images that the model got wrong. None under the same condition as `fit`."""

    error: Share
    """Expected calibration error (ECE) with 15 bins of equal width."""

    error_at_temperature: Share
    log_loss_at_temperature: Amount
    bins: tuple[Bin, ...]
    """The non-empty bins."""

    bins_at_temperature: tuple[Bin, ...]

    @property
    def changes(self) -> bool:
        """Whether the temperature changes the model's probabilities."""
        return self.temperature != 1


class Bootstrap(ResultModel):
    """95 % percentile intervals from resampling the test images with replacement."""

    resamples: Count
    seed: int
    accuracy: ShareInterval
    roc_auc: ShareInterval | None
    """None if it is undefined or there are more than 10 classes."""

    log_loss: Range
    calibration_error: ShareInterval
    """Error of the unchanged probabilities. The estimate is biased upwards, and so is the interval."""


class ObjectClass(ResultModel):
    """The test images that show one kind of object, both real and generated ones."""

    name: str
    """CIFAR-10's name of the object."""

    images: Count
    accuracy: Share
    accuracy_interval_95: ShareInterval
    accuracy_by_class: dict[str, Share]
    """Accuracy on the images of each class."""


class RunnerUp(ResultModel):
    """The second-best trial's model compared with the best one's on the same test images."""

    trial: TrialId
    score: float
    accuracy: Share
    accuracy_interval_95: ShareInterval
    only_best_right: Count
    """Number of images that only the best model got right."""

    only_runner_up_right: Count
    p_value: Share
    """Two-sided p-value of McNemar's exact test: the probability of such a difference between equally good models."""

    difference: Change
    """Accuracy of the best model minus accuracy of the runner-up."""

    difference_interval_95: Range
    """Paired interval by Bonett and Price."""


class CorruptionScore(ResultModel):
    """The accuracy under one corruption of the test images."""

    disturbance: str
    """Name of the corruption; the first is `none`."""

    accuracy: Share
    accuracy_interval_95: ShareInterval
    recall: dict[str, Share]
    """Recall by class."""

    changed: Share
    """Share of images whose prediction differs from that of the unchanged image."""


class Robustness(ResultModel):
    """Accuracy under recompression, blur, noise and other corruptions, on test images chosen by the study's seed."""

    images: Count
    seed: int
    samples: Count = 0
    """Number of rows of robustness_samples.png."""

    disturbances: tuple[CorruptionScore, ...]


class WrongImage(ResultModel):
    """A test image that the model got wrong with confidence."""

    name: str
    label: str
    prediction: str
    probability: Share
    """Probability of the prediction."""


class RocCurve(ResultModel):
    """A ROC curve of one class against the others, at decreasing thresholds; at most 200 points."""

    false_positive_rate: tuple[Share, ...]
    true_positive_rate: tuple[Share, ...]


class TrainingProfile(ResultModel):
    """Typical properties of the training images, used to warn about images that differ."""

    height: Count
    width: Count
    formats: tuple[str, ...]
    """Formats such as JPEG, according to the file names."""

    resized: bool
    """Whether the training images were resized when they were packed."""

    brightness: Range
    """Range of the mean pixel (0-255) of the validation images, without the lowest and highest 0.1 %."""

    contrast: Range
    """The same range for the standard deviation of the pixels."""

    saturation: Range
    """The same range for the mean difference between the largest and the smallest channel of a pixel."""


class EvaluationResult(ResultModel):
    """What every evaluation says about the evaluated model."""

    format: Format = ABSENT
    study: str
    best_trial: TrialId
    best_epoch: Count
    """Epoch whose model was evaluated, from 0."""

    hyperparameters: dict[str, Any]
    objective: str
    score: float
    """Objective of the best trial, by which the trial was chosen."""

    checkpoint: str
    """Name of the evaluated model's object in the bucket."""

    data_digest: str
    """Digest of the data set; `own` if the space brings its own data."""

    seed: int
    test_evaluations: Count
    """Number of this study's models measured on the test split, including this one. Choosing among several models by
    these numbers would make them optimistic."""

    versions: Versions
    duration_s: Amount

    verified: bool | None = None
    """Whether `score` was recomputed with this model on all validation images, before the test images were read. False
    if it cannot be recomputed, because the space's own `fit` returned it, its metric cannot be loaded, or the space has
    its own data or evaluation. None in evaluations by earlier versions."""

    recomputed_score: float | None = None
    """The recomputed value. None if it cannot be recomputed."""

    confirmation: tuple[ConfirmedTrial, ...] = ()
    """The trials that were trained again with other seeds, the winner first. Empty without search.confirm."""

    not_made: tuple[str, ...] = ()
    """Names of report files that could not be made. The evaluator's log has the reasons."""


class Metrics(EvaluationResult):
    """The evaluation of a study's best trial on the test split. `model_dump_json()` is metrics.json.

    Intervals are (low, high): Wilson's 95 % intervals. Probabilities, accuracies and scores of classes are 0 to 1.
    """

    accuracy: Share
    accuracy_interval_95: ShareInterval
    interval_method: str = "wilson"
    images: Count
    accuracy_without_leaked: LeakFree
    roc_auc: Share | None
    """With two classes, computed from the second class's probability. With more, the mean over the classes, each
    against the rest. None if a class has no test image."""

    log_loss: Amount
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    """Numbers of images; rows are the truth, columns the prediction, in the order of `classes`."""

    per_class: dict[str, OneClass]
    validation_accuracy: float | None
    """`val_accuracy` of the best epoch, optimistic as the best of many. None if the model does not report it."""

    validation_interval_95: ShareInterval | None
    validation_images: Count
    """Number of training images held out to compare trials."""

    # The fields below are None in evaluations by earlier versions, or for the reason given.
    bootstrap: Bootstrap | None = None
    calibration: Calibration | None = None
    objects: tuple[ObjectClass, ...] | None = None
    """None if the files are not named as CIFAKE's are."""

    runner_up: RunnerUp | None = None
    """None if no other trial has a model that can be compared."""

    robustness: Robustness | None = None
    """None if evaluation.robustness_images is 0."""

    most_wrong: tuple[WrongImage, ...] | None = None
    """The most confident mistakes, in the order of most_wrong.png."""

    roc_curves: dict[str, RocCurve] | None = None
    """Curve of the second of two classes, or of each of up to ten. A class with no image, or with all, has none."""

    familiar: TrainingProfile | None = None
    with_flips: WithFlips | None = None

    @model_validator(mode="after")
    def _check_numbers(self) -> Self:
        """Refuse numbers that contradict each other. Python's ValueError becomes pydantic's ValidationError."""
        classes, matrix = len(self.classes), self.confusion_matrix
        if len(matrix) != classes or any(len(row) != classes for row in matrix):
            raise ValueError(f"confusion_matrix must have {classes} rows and columns, one per class")
        if (least := min((min(row) for row in matrix if row), default=0)) < 0:  # 1,000 classes have a million cells
            raise ValueError(f"the numbers in confusion_matrix must not be negative, got {least}")
        total, right = sum(map(sum, matrix)), sum(row[index] for index, row in enumerate(matrix))
        if total != self.images:
            raise ValueError(f"the numbers in confusion_matrix sum to {total}, but images is {self.images}")
        if not self.images or not is_same(self.accuracy, right / total):
            raise ValueError(f"accuracy is {self.accuracy}, but confusion_matrix has {right} right of {total} images")
        low, high = self.accuracy_interval_95
        if not low - ROUNDING <= self.accuracy <= high + ROUNDING:
            raise ValueError(f"accuracy_interval_95 ({low} to {high}) does not contain accuracy ({self.accuracy})")
        if {name: one.support for name, one in self.per_class.items()} != dict(
            zip(self.classes, map(sum, matrix), strict=True)
        ):
            raise ValueError("per_class does not have the classes and numbers of images of confusion_matrix")
        clean = self.accuracy_without_leaked
        if clean.images + clean.leaked_images != self.images:
            raise ValueError("accuracy_without_leaked does not account for all images")
        return self
