"""All settings of a study, as one model: the content of study.yaml and of the chart's `study:` value.

Each of these sources overrides those before it: the defaults, study.yaml, the environment
(`CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS=4`) and `--set search.max_trials=4`.
An unknown key is an error that names the nearest known key.
"""

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from tuner.config.confirm_settings import Confirm
from tuner.config.constraint_settings import Constraints
from tuner.config.data_settings import Data
from tuner.config.hyperband_settings import Hyperband
from tuner.config.notify_settings import Notify
from tuner.config.section import MANY, YEAR_S, Budget, Positive, Seconds, Settings, Text, Value
from tuner.config.space_settings import Space
from tuner.config.tracking_settings import Tracking

STUDY_NAME = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""Pattern of the names of studies."""


class Algorithm(StrEnum):
    """Search algorithms: those of Keras Tuner, and TPE of Optuna."""

    AUTO = "auto"  # TPE, but RANDOM in a study that began with it
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
    """Policy that decides which trials continue beyond a rung."""

    STOPPING = "asha"  # stops the others; recorded under its first name, so that version 0.1.0 can continue a study
    PROMOTION = "promotion"  # pauses the others, until they are promoted
    NONE = "none"


def _policy_name(value: Any) -> Any:
    """Return the value under which a policy is recorded. Raises ValueError for a text that names no policy."""
    if not isinstance(value, str) or value in list(Policy):
        return value
    if value != "stopping":
        raise ValueError(f"must be 'stopping', 'promotion' or 'none', got {json.dumps(value):.100}")
    return Policy.STOPPING.value


class EarlyStopping(Settings):
    """Early stopping of trials, which frees workers for better trials.

    The method is asynchronous successive halving (https://arxiv.org/abs/1810.05934). Trials are compared at rungs: the
    first rung is at `min_epochs`, and each further rung at `reduction_factor` times as many epochs. With the defaults,
    the rungs are at epochs 1, 3, 9, 27 and so on. At a rung, the best objective of a trial so far is compared with
    those of all trials that have reached it. With the defaults, the best third continues. `policy` decides what happens
    to the others. `cifake-tune trials` shows the reason.
    """

    policy: Annotated[
        Policy | None,
        BeforeValidator(_policy_name),
        WithJsonSchema({"enum": ["stopping", *Policy, None]}),
    ] = None
    """What happens to a trial that is not among the best at a rung. `stopping` (`asha` is its old name): it becomes
    STOPPED, and keeps its score and its model. The first trials at a rung are compared again when others have reached
    it. `promotion`: it becomes PAUSED, and continues from its checkpoint once it is among the best, because more
    trials have reached the rung. `none`: every trial is trained to its last epoch. Default: `stopping`, but `none` with
    `search.algorithm: hyperband`, which has its own rungs."""

    min_epochs: Positive = 1
    """Number of epochs that every trial trains before the first rung. Default: 1, which saves most, because epochs of a
    large data set are long. Increase it if the first epochs say little about the last ones, for example during
    a learning-rate warm-up."""

    reduction_factor: Annotated[int, Field(ge=2, le=MANY)] = 3
    """Ratio of the trials that reach a rung to those that continue beyond it. While fewer trials than this have reached
    a rung, all of them continue if it is the first rung (with `promotion`, none of them yet), and only the best one
    continues at later rungs. Default: 3, which is close to the theoretical optimum e. The paper's 4 would stop more
    trials, although scores after one epoch are noisy."""

    @property
    def has_rungs(self) -> bool:
        """Whether trials are compared at rungs."""
        return self.policy in (Policy.STOPPING, Policy.PROMOTION)


DEFAULT_TRIALS = 10
"""Value of `search.max_trials` if no other budget is set."""
BUDGETS = ("max_hours", "max_worker_hours", "target", "patience_trials")
"""Budgets that end a search, besides `max_trials`."""
Hours = Annotated[float, Field(gt=0, le=MANY)]


Point = Literal["default"] | dict[str, Value]
"""A configuration to be tried: all defaults, or values of some hyperparameters."""


class Search(Settings):
    """The search: which trials run, and how they are compared."""

    algorithm: Algorithm = Algorithm.AUTO
    """Search algorithm that suggests the hyperparameters of the next trial. `bayesian` (a Gaussian process) and `tpe`
    (a tree-structured Parzen estimator) learn from the scores of earlier trials. The algorithms are Keras Tuner's,
    except `tpe`, which is Optuna's. `auto` is `tpe`; but a study that began with `random`, the default of version
    0.1.0, keeps it."""

    initial_points: Positive | None = None
    """Number of trials with a score from which on `bayesian` and `tpe` use their model; the trials before that are
    random. The other algorithms ignore this setting. Default: a third of `max_trials` (10 if that is not set), but at
    least 4 and at most 10 plus the number of hyperparameters that are not fixed. With fewer trials, a model knows too
    little. With more, too few trials would be left to use it."""

    first: list[Point] = []  # noqa: RUF012  (pydantic copies defaults)
    """Configurations that are tried first: mappings of hyperparameters to values, or the word `default`. In
    `[{learning_rate: 0.001}, default]`, the other hyperparameters of the first trial, and all of the second, have the
    defaults of the space. They count as trials. Default: none."""

    learn_from: list[Text] = []  # noqa: RUF012
    """Earlier studies whose results the algorithm knows from the beginning: names of studies in the same bucket, or
    names with the URL of another bucket, such as `gs://bucket/prefix/NAME` or `s3://bucket/NAME`. They must have the
    same objective, and hyperparameters in common. Their trials are neither counted nor repeated. They are read once,
    when the study begins. Default: none."""

    constraints: Constraints = Constraints()
    """Limits that a model must satisfy to be trained."""

    max_trials: Positive | None = None
    """Maximum number of trials. There are fewer if the space has fewer combinations. Hyperband ignores this setting and
    derives its number of trials from `training.epochs`. Default: 10, but no maximum if `max_hours`, `max_worker_hours`,
    `target` or `patience_trials` is set."""

    max_hours: Hours | None = None
    """Number of hours after which the search ends. Only time during which a chief was serving counts, so a restart, an
    interruption or a change of the clock neither adds nor resets hours. A pause (`cifake-tune pause`) does not count.
    When a budget ends, no trial starts, running trials become STOPPED after their current epoch, and the evaluation
    follows. Default: not set."""

    max_worker_hours: Hours | None = None
    """Number of hours of all workers together after which the search ends. A worker's time counts while it has a trial.
    Default: not set."""

    target: float | None = None
    """Value of the objective that is good enough: the search ends once a trial reaches it. Set another budget too if
    the target may be out of reach. Default: not set."""

    patience_trials: Positive | None = None
    """Number of trials without a better score after which the search ends. Trials without a score do not count.
    The count begins again whenever an epoch of any trial has the best objective so far. Default: not set."""

    grace_minutes: Annotated[float, Field(ge=0, le=24 * 60)] = 10.0
    """Minutes for which running trials may finish their current epoch when a budget ends. A trial that takes longer
    ends with the score of its earlier epochs. Default: 10, which few epochs exceed."""

    objective: Text = "val_accuracy"
    """Metric by which trials are compared: a metric passed to the model's `compile`, with the prefix `val_` for its
    value on the validation images. The score of a trial is its value in the best epoch."""

    direction: Direction = Direction.AUTO
    """Whether a larger (`max`) or a smaller (`min`) objective is better. With `auto`,
    Keras Tuner decides, because it knows the metrics of Keras."""

    early_stopping: EarlyStopping = EarlyStopping()
    """Early stopping of trials."""

    hyperband: Hyperband = Hyperband()
    """Settings of Hyperband."""

    finalists: Positive = 1
    """Number of trials that are trained to their last epoch at least, if `early_stopping.policy` is `promotion`. After
    the last suggestion, or in time before a budget of hours ends, the best paused trials are resumed until the best
    `finalists` trials are completed."""

    confirm: Confirm = Confirm()
    """Training of the best trials again, with other seeds, after the search."""

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
    def _trials_without_another_budget(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("max_trials") is not None:
            return values
        limited = any(values.get(budget) is not None for budget in BUDGETS)
        return values if limited else {**values, "max_trials": DEFAULT_TRIALS}

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
        if hyperband and stopping.get("policy") not in (None, Policy.NONE):
            raise ValueError(
                f"early_stopping.policy {stopping['policy']} cannot be combined with algorithm hyperband, which has "
                "its own rungs. Remove the policy, or set it to none"
            )
        if stopping.get("policy") is not None:
            return values
        return {**values, "early_stopping": {**stopping, "policy": Policy.NONE if hyperband else Policy.STOPPING}}


def _devices(value: Any) -> Any:
    """Replace pydantic's errors, one for each type, by a single sentence."""
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MANY):
        raise ValueError(f"must be auto or a number of devices from 1, got {json.dumps(value):.60}")
    return value


class Training(Settings):
    """The training of a single trial."""

    epochs: Positive = 10
    """Maximum number of epochs per trial."""

    patience: Positive | None = None
    """Number of epochs without an improvement of the objective after which a trial ends. Default: not set, so that
    trials do not end for lack of improvement."""

    max_minutes: Annotated[float, Field(gt=0, le=YEAR_S / 60)] | None = None
    """Minutes of all attempts together after which a trial becomes STOPPED, at the end of its current epoch. A trial
    that exceeds them by `search.grace_minutes` without finishing an epoch ends with the score of its earlier epochs,
    or fails if it has none. Default: not set."""

    devices: Annotated[Positive | Literal["auto"], BeforeValidator(_devices)] = "auto"
    """Number of devices, such as GPUs, on which each trial is trained: `auto` for all that its process can see, or a
    number. Each batch of `data.batch_size` images is divided among them. Default: auto. A CPU is one device."""

    compilation_cache_mb: Budget = 500
    """Maximum size, in megabytes, of the compiled programs that the workers of a machine keep in their cache folder. A
    later trial whose model has the same shapes, also one that another process resumes, does not compile them again.
    Those that were not used for longest are deleted. 0 keeps none. Only JAX uses it. Default: 500, which is enough for
    hundreds of models."""


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


class Cost(Settings):
    """The price of the workers, with which `status`, the report and the metrics show the cost of a search."""

    per_worker_hour: Annotated[float, Field(ge=0, le=MANY)] | None = None
    """Price of one worker for one hour. Default: not set, so that hours are shown without their cost."""

    currency: Annotated[Text, Field(max_length=8)] = "$"
    """Currency sign or code, which is shown before an amount."""


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
    cost: Cost = Cost()
    tracking: Tracking = Tracking()
    notify: Notify = Notify()

    @model_validator(mode="before")
    @classmethod
    def _own_data_of_script(cls, values: Any) -> Any:
        """Set data.own for a script, which loads its data itself."""
        if not isinstance(values, dict):
            return values
        space, data = values.get("space"), values.get("data", {})
        is_script = isinstance(space, dict) and space.get("script") is not None
        return {**values, "data": {"own": True, **data}} if is_script and isinstance(data, dict) else values

    @model_validator(mode="after")
    def _own_data_of_own_space(self) -> "Study":
        if self.space.script is not None and not self.data.own:
            raise ValueError("data.own must be true with space.script, because a script loads its data itself")
        if self.data.own and self.space.name is not None:
            raise ValueError(
                "data.own requires space.import, because the built-in spaces train on packed images. Set space.import "
                "to your space, or remove data.own"
            )
        return self

    def without_secrets(self) -> "Study":
        """Return the settings as the study records them and shows them to workers."""
        return self.model_copy(update={"notify": Notify()})

    @property
    def validation_seed(self) -> int:
        """Seed that selects the validation images."""
        return self.seed if self.data.validation_seed is None else self.data.validation_seed
