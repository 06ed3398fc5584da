"""All settings of a study, as one model: the content of study.yaml and of the chart's `study:` value.

Each of these sources overrides those before it: the defaults, study.yaml, the environment
(`CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS=4`) and `--set search.max_trials=4`.
An unknown key is an error that names the nearest known key.
"""

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MANY = 1_000_000
"""Upper bound of counts that no study reaches. Larger values are mistakes, such as a number with two units."""
YEAR_S = 366 * 24 * 3600.0

Positive = Annotated[int, Field(ge=1, le=MANY)]
Budget = Annotated[int, Field(ge=0, le=MANY)]
MAX_SIDE = 4096
MIN_FRACTION = 1e-6
Side = Annotated[int, Field(ge=1, le=4096)]
"""Height or width of an image, in pixels."""
Seconds = Annotated[float, Field(ge=0.1, le=YEAR_S)]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$")]
"""Text that is not blank and has no control characters."""
STUDY_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""Pattern of the names of studies."""
Value = bool | int | float | str
Values = list[bool] | list[int] | list[float] | list[str]


class Settings(BaseModel):
    """Base of all sections. Unknown keys are errors, values are not converted, and instances are immutable.

    The docstring below a setting is its description in the JSON Schema and in docs/settings.md.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Algorithm(StrEnum):
    """Search algorithms: those of Keras Tuner, and TPE of Optuna."""

    RANDOM = "random"
    BAYESIAN = "bayesian"  # Gaussian process, upper confidence bound
    TPE = "tpe"  # tree-structured Parzen estimator
    HYPERBAND = "hyperband"  # derives the number of trials and the epochs per trial from training.epochs
    GRID = "grid"


class Direction(StrEnum):
    """Whether a larger or a smaller objective is better."""

    AUTO = "auto"
    MAX = "max"
    MIN = "min"


class Policy(StrEnum):
    """Policy that decides which trials stop before their last epoch."""

    ASHA = "asha"  # asynchronous successive halving
    NONE = "none"


class Columns(Settings):
    """The columns of the file `data.labels`, by name or by number from 1. What is not set is inferred and reported."""

    image: Text | None = None
    """Column of the images' paths, which are relative to the CSV file or the source. Default: the column whose values
    are files of the source."""

    label: Text | None = None
    """Column of the classes. Default: the column with a name such as `label` or `class`, or the only other column."""

    split: Text | None = None
    """Column of the splits (train, val, test). Default: the column with a name such as `split`, if there is one."""


class Data(Settings):
    """The data set."""

    source: Text | None = None
    """Path of a folder, zip or tar archive, a `gs://` URL, or the digest of a data set that the bucket contains. The
    data is packed into the bucket unless the bucket already contains it. Default: the data set that the study began
    with, else the only data set of the bucket, else the built-in sample."""

    resize: tuple[Side, Side] | None = None
    """Height and width to which all images are resized, such as `[224, 224]`. Default: not set, so that all images must
    have the same size."""

    convert: bool = False
    """Whether greyscale, palette, transparent and CMYK images are converted to RGB, and 16-bit images to 8 bits.
    Default: false, so that they are refused, because most data sets have none of them on purpose."""

    test: Annotated[float, Field(ge=MIN_FRACTION, lt=1)] = 0.2
    """Fraction of the images of each class that become test images if the source has no test split. Exact duplicates
    stay on one side."""

    test_seed: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Seed that selects these test images. It does not depend on `seed`, so that studies with different seeds have the
    same test images."""

    labels: Text | None = None
    """Path of a CSV file with the label of each image, in the source or on this machine. Default: not set, so that the
    folders are the classes."""

    columns: Columns = Columns()
    """Columns of the CSV file."""

    validation: Annotated[float, Field(ge=MIN_FRACTION, lt=1)] = 0.1
    """Fraction of the training images that is held out, stratified by class, to compare trials. A source with a
    validation split has its own validation images, and this setting has no effect. Default: 0.1, which
    is 10,000 images of CIFAKE. The standard error of their accuracy, 0.3 %, is small compared with the differences
    between trials."""

    validation_seed: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Seed that selects the validation images. Default: the study's `seed`. Set it to compare studies with different
    seeds on the same validation images."""

    batch_size: Positive = 128
    """Number of images per training step."""

    own: bool = False
    """Whether the space brings its own data: its method `data(self, part)` returns the data, and nothing is packed.
    Default: false, so that the space is trained on images. Then only `batch_size`, for arrays, and `validation_seed`,
    with which NumPy, Python and Keras are seeded before `data` is called, have an effect in this section."""

    @field_validator("resize", mode="before")
    @classmethod
    def _two_sides(cls, value: Any) -> Any:
        """Return a list as a tuple, and replace pydantic's errors, one for each item, by a single sentence."""
        if value is None:
            return None
        is_pair = isinstance(value, list | tuple) and len(value) == 2
        if not is_pair or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in value):
            raise ValueError(
                f"must be [HEIGHT, WIDTH], two whole numbers of pixels from 1 to {MAX_SIDE}, got {json.dumps(value)}"
            )
        return tuple(value)

    @model_validator(mode="after")
    def _own_without_images(self) -> "Data":
        """Refuse settings of images for a space that brings its own data, because they would have no effect."""
        fields = type(self).model_fields
        useless = [
            f"data.{name}"
            for name in fields.keys() - {"own", "batch_size", "validation_seed"}
            if self.own and getattr(self, name) != fields[name].default
        ]
        if useless:
            raise ValueError(
                f"data.own says that the space brings its own data, so {' and '.join(sorted(useless))} would have no "
                "effect. Remove one of them (`--data` sets data.source)"
            )
        return self


BUILT_IN_SPACES = ("seed", "deep")
"""Names of the built-in spaces. A test compares them with `tuner.spaces`."""


class Space(Settings):
    """The search space: the hyperparameters and the model built from them."""

    # for editors and helm: at most one of `name` and `import` is a text
    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["name", "import"],
                "properties": {"name": {"type": "string"}, "import": {"type": "string"}},
            }
        }
    )

    name: Annotated[Text | None, Field(json_schema_extra={"enum": [*BUILT_IN_SPACES, None]})] = None
    """Name of a built-in space. Default: `seed`, the published space, unless `import` is set."""

    import_: Annotated[str | None, Field(alias="import", pattern=r"^[\w.]+:\w+$")] = None
    """Your own space, written as `module:name`: a function `build_model(hp)` that returns a compiled model, a Keras
    Tuner `HyperModel` class, or an object of such a class. It replaces `name`."""

    code: Text | None = None
    """Folder that is added to Python's path before `import` is resolved. Default: the working directory."""

    values: dict[str, Value | Values] = {}
    """Hyperparameters to fix or to restrict. `{width: 64, blocks: [2, 3]}` fixes `width` and restricts `blocks` to two
    values, so that one space serves both a laptop and a large GPU. Default: none, which restricts nothing."""

    @field_validator("values", mode="before")
    @classmethod
    def _values_or_lists(cls, values: Any) -> Any:
        """Replace pydantic's errors, one for each type that a value could have had, by a single sentence."""
        if not isinstance(values, dict):
            raise ValueError(
                f"must be a mapping of hyperparameters to values, such as {{width: 64}}, got {json.dumps(values)}"
            )
        for name, value in values.items():
            choices = value if isinstance(value, list) else [value]
            types = {
                float if isinstance(choice, int) and not isinstance(choice, bool) else type(choice)
                for choice in choices
            }
            if len(types) != 1 or not types <= {bool, float, str}:
                raise ValueError(f"{name} must be a value or a list of values of one type, got {json.dumps(value)}")
        return values

    @model_validator(mode="before")
    @classmethod
    def _name_or_import(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        has_import = values.get("import", values.get("import_")) is not None
        if has_import and values.get("name") is not None:
            raise ValueError("space.name and space.import are mutually exclusive. Remove one of them")
        return values if has_import or values.get("name") is not None else {**values, "name": "seed"}


class EarlyStopping(Settings):
    """Early stopping of trials, which frees workers for better trials.

    The method is asynchronous successive halving (https://arxiv.org/abs/1810.05934). Trials are compared at rungs: the
    first rung is at `min_epochs`, and each further rung at `reduction_factor` times as many epochs. With the defaults,
    the rungs are at epochs 1, 3, 9, 27 and so on. At a rung, the best objective of a trial so far is compared with
    those of all trials that reached it earlier. The first trials at a rung are compared again when others have reached
    it. With the defaults, a trial that is not among the best third becomes STOPPED. It keeps its score and its
    model, and `cifake-tune trials` shows the reason.
    """

    policy: Policy | None = None
    """Early-stopping policy: `asha`, or `none` to train every trial to its last epoch. Default: `asha`, but
    `none` with `search.algorithm: hyperband`, which has its own rungs."""

    min_epochs: Positive = 1
    """Number of epochs that every trial trains before the first rung. Default: 1, which saves most, because epochs of a
    large data set are long. Increase it if the first epochs say little about the last ones, for example during
    a learning-rate warm-up."""

    reduction_factor: Annotated[int, Field(ge=2, le=MANY)] = 3
    """Ratio of the trials that reach a rung to those that continue beyond it. While fewer trials than this have reached
    a rung, all of them continue if it is the first rung, and only the best one continues at later rungs. Default: 3,
    which is close to the theoretical optimum e. The paper's 4 would stop more trials, although scores after one epoch
    are noisy."""


class Constraints(Settings):
    """Limits that a model must satisfy to be trained."""

    parameters: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Maximum number of parameters of a model, such as `5e6`. The chief counts them without creating weights. A larger
    model becomes no trial and is not suggested again. If 200 suggestions in a row are too large, no further trial is
    suggested. Default: not set, so that models may have any size."""

    @field_validator("parameters", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """Accept 5e6, which YAML and JSON read as a floating-point number."""
        return int(value) if isinstance(value, float) and value.is_integer() else value


Point = Literal["default"] | dict[str, Value]
"""A configuration to be tried: all defaults, or values of some hyperparameters."""


class Search(Settings):
    """The search: which trials run, and how they are compared."""

    algorithm: Algorithm = Algorithm.RANDOM
    """Search algorithm that suggests the hyperparameters of the next trial. `bayesian` (a Gaussian process) and `tpe`
    (a tree-structured Parzen estimator) learn from the scores of earlier trials. The algorithms are Keras Tuner's,
    except `tpe`, which is Optuna's."""

    initial_points: Positive | None = None
    """Number of trials with a score from which on `bayesian` and `tpe` use their model; the trials before that are
    random. The other algorithms ignore this setting. Default: a third of `max_trials`, but at least 4 and at most 10
    plus the number of hyperparameters that are not fixed. With fewer trials, a model knows too little. With more, too
    few trials would be left to use it."""

    first: list[Point] = []
    """Configurations that are tried first: mappings of hyperparameters to values, or the word `default`. In
    `[{learning_rate: 0.001}, default]`, the other hyperparameters of the first trial, and all of the second, have the
    defaults of the space. They count as trials. Default: none."""

    learn_from: list[Text] = []
    """Earlier studies whose results the algorithm knows from the beginning: names of studies in the same bucket, or
    names with the URL of another bucket, such as `gs://bucket/prefix/NAME`. They must have the same objective, and
    hyperparameters in common. Their trials are neither counted nor repeated. They are read once, when the study begins.
    Default: none."""

    constraints: Constraints = Constraints()
    """Limits that a model must satisfy to be trained."""

    max_trials: Positive = 10
    """Maximum number of trials. There are fewer if the space has fewer combinations. Hyperband ignores this setting and
    derives its number of trials from `training.epochs`."""

    objective: Text = "val_accuracy"
    """Metric by which trials are compared: a metric passed to the model's `compile`, with the prefix `val_` for its
    value on the validation images. The score of a trial is its value in the best epoch."""

    direction: Direction = Direction.AUTO
    """Whether a larger (`max`) or a smaller (`min`) objective is better. With `auto`,
    Keras Tuner decides, because it knows the metrics of Keras."""

    early_stopping: EarlyStopping = EarlyStopping()
    """Early stopping of trials."""

    max_consecutive_failures: Positive = 3
    """Number of consecutive failed trials after which the search gives up, because the model is broken then, not
    the hyperparameters."""

    @field_validator("first", mode="before")
    @classmethod
    def _points(cls, value: Any) -> Any:
        """Replace pydantic's errors, one for each type that a value could have had, by a single sentence."""
        for point in value if isinstance(value, list) else [None]:
            is_mapping = isinstance(point, dict) and all(isinstance(each, Value) for each in point.values())
            if not is_mapping and point != "default":
                raise ValueError(
                    "must be a list of configurations, each the word default or a mapping of hyperparameters to "
                    f"values, such as [{{learning_rate: 0.001}}, default], got {json.dumps(value):.100}"
                )
        return value

    @field_validator("learn_from")
    @classmethod
    def _studies(cls, studies: list[str]) -> list[str]:
        for study in studies:
            name = study.rsplit("/", 1)[-1]
            if not re.fullmatch(STUDY_NAME, name):
                raise ValueError(
                    "must be names of studies, or URLs of buckets that end with such a name, such as gs://bucket/NAME, "
                    f"got {json.dumps(study):.100}"
                )
        return studies

    @property
    def names_objective(self) -> bool:
        """Whether a number without a name, which `fit` may return, is known to be the objective.

        The default objective says nothing about such a number unless `direction` confirms it.
        """
        default = type(self).model_fields["objective"].default
        return self.objective != default or self.direction is Direction.MAX

    @model_validator(mode="before")
    @classmethod
    def _policy_of_the_algorithm(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        stopping = values.get("early_stopping", {})
        stopping = stopping.model_dump() if isinstance(stopping, EarlyStopping) else stopping
        if not isinstance(stopping, dict):
            return values
        hyperband = values.get("algorithm") == Algorithm.HYPERBAND
        if hyperband and stopping.get("policy") == Policy.ASHA:
            raise ValueError(
                "early_stopping.policy asha cannot be combined with algorithm hyperband, which has its own rungs. "
                "Remove the policy, or set it to none"
            )
        if stopping.get("policy") is not None:
            return values
        return {**values, "early_stopping": {**stopping, "policy": Policy.NONE if hyperband else Policy.ASHA}}


class Training(Settings):
    """The training of a single trial."""

    epochs: Positive = 10
    """Maximum number of epochs per trial."""

    patience: Positive | None = None
    """Number of epochs without an improvement of the objective after which a trial ends. Default: not set, so that
    trials do not end for lack of improvement."""


class Retries(Settings):
    """Retries of a trial, counted separately for each reason why an attempt ended. A failure of bucket, disk or network
    is not counted."""

    failure: Budget = 1
    """Maximum number of retries after an exception raised by the model or during training. A trial whose loss becomes
    NaN is not retried, because training is seeded and the loss would become NaN again."""

    preemption: Annotated[int, Field(ge=10, le=MANY)] = 20
    """Maximum number of retries after the worker was preempted or lost. Default: 20, which is large because the trial
    is not the cause. It is bounded because a trial that crashes its worker would otherwise be retried forever."""

    out_of_memory: Budget = 1
    """Maximum number of retries after the worker ran out of memory. Another worker may have more memory."""

    environment_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """Seconds for which a worker tries again, with growing pauses, if its disk, the bucket or the network keeps it from
    reading or saving a checkpoint. Then it returns its trial, which costs none of the retries, and exits with code 3.
    `cifake-tune run` exits with code 3 as well if no checkpoint was saved meanwhile. The chief waits as long for space
    in a full bucket. Default: 5 minutes, in which space can be freed."""


class Leases(Settings):
    """Leases: how long a trial stays assigned to a silent worker, and how long a worker waits for its chief."""

    duration_s: Seconds = 30.0
    """Seconds without a heartbeat after which a trial is reassigned to another worker. Workers send at least three
    heartbeats per lease."""

    stock_duration_s: Seconds = 3600.0
    """Seconds after which a trial of a stock Keras Tuner worker is reassigned. Stock workers send no heartbeats, so
    this must exceed the duration of their longest trial."""

    chief_timeout_s: Seconds = 300.0
    """Seconds after which a worker that cannot reach its chief exits with code 3."""


class Evaluation(Settings):
    """The evaluation of the best model on the test images."""

    batch_size: Positive = 500
    """Number of images per prediction step. It affects speed and memory use, not the result."""

    robustness_images: Budget = 2000
    """Number of test images, selected by the seed, on which robustness is measured: the accuracy after recompression,
    blur, noise, resizing and flips. 0 skips the measurement. Each image is predicted 9 times. Default: 2000, which is
    enough to detect a loss of 2 %, and takes as long as predicting CIFAKE's 20,000 test images once."""


class Study(Settings):
    """All settings of one study."""

    name: Annotated[str, Field(pattern=STUDY_NAME)] = "cifake"
    """Name of the study, which is also the name of its folder in the bucket: at most 63 lower-case letters, digits and
    dashes, not beginning or ending with a dash."""

    seed: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Seed of the suggestions, the validation images, the initial weights and the batches. Runs with the same seed are
    repeatable."""

    data: Data = Data()
    space: Space = Space(name="seed")
    search: Search = Search()
    training: Training = Training()
    retries: Retries = Retries()
    leases: Leases = Leases()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _own_data_of_own_space(self) -> "Study":
        if self.data.own and self.space.import_ is None:
            raise ValueError(
                "data.own requires space.import, because the built-in spaces train on packed images. Set space.import "
                "to your space, or remove data.own"
            )
        return self

    @property
    def validation_seed(self) -> int:
        """Seed that selects the validation images."""
        return self.seed if self.data.validation_seed is None else self.data.validation_seed
