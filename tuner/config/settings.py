"""Study: one model of all settings, which is study.yaml and the chart's `study:` value.

Defaults < study.yaml < environment (`CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS=4`) < `--set search.max_trials=4`.
Unknown keys are errors that name the nearest known one.
"""

import json
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(ge=1)]
Budget = Annotated[int, Field(ge=0)]
Value = bool | int | float | str
Values = list[bool] | list[int] | list[float] | list[str]


class Settings(BaseModel):
    """Base of all sections: unknown keys are errors, values are not converted, instances do not change.

    The docstring under a setting is its description, in the JSON Schema and in docs/settings.md.
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
    """Keras Tuner's search algorithms."""

    RANDOM = "random"
    BAYESIAN = "bayesian"  # Gaussian process, upper confidence bound
    HYPERBAND = "hyperband"  # its own number of trials and epochs a trial, out of training.epochs
    GRID = "grid"


class Direction(StrEnum):
    """Whether a larger or a smaller objective is better."""

    AUTO = "auto"
    MAX = "max"
    MIN = "min"


class Policy(StrEnum):
    """How trials that cannot win any more are found before their last epoch."""

    ASHA = "asha"  # asynchronous successive halving
    NONE = "none"


class Data(Settings):
    """The data set."""

    source: Annotated[str, Field(min_length=1)] | None = None
    """Zip, folder or gs:// to pack where the bucket does not have it yet. Default: the built-in sample."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the training images held out, stratified by class, to compare trials by. Default: 0.1, the
    10,000 of CIFAKE whose standard error (0.3 %) is small beside the differences between trials."""

    validation_seed: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Chooses these images. Default: the study's seed; set it to compare studies of several seeds by the same ones."""

    batch_size: Positive = 128
    """Images a training step."""


class Space(Settings):
    """The hyperparameters and the model that they build."""

    name: str | None = None
    """A built-in space. Default: seed, the published one."""

    import_: Annotated[str | None, Field(alias="import", pattern=r"^[\w.]+:\w+$")] = None
    """`module:Class`, a Keras Tuner HyperModel of your own, instead of `name`."""

    code: str | None = None
    """Folder that is put on Python's path before `import` is looked up. Default: the working directory."""

    values: dict[str, Value | Values] = {}
    """Hyperparameters that the search does not choose freely: `{width: 64, blocks: [2, 3]}` sets the first, and lets
    the second be one of these. So one space serves a laptop and a large GPU. Default: all as the space has them."""

    @field_validator("values", mode="before")
    @classmethod
    def _values_or_lists(cls, values: Any) -> Any:
        """Say in one sentence what pydantic says in one for each type that a value might have had."""
        if not isinstance(values, dict):
            raise ValueError(f"must be hyperparameters with their values, as {{width: 64}}, not {json.dumps(values)}")
        for name, value in values.items():
            several = value if isinstance(value, list) else [value]
            kinds = {float if isinstance(each, int) and not isinstance(each, bool) else type(each) for each in several}
            if len(kinds) != 1 or not kinds <= {bool, float, str}:
                raise ValueError(f"{name} must be a value, or a list of values of one kind, not {json.dumps(value)}")
        return values

    @model_validator(mode="before")
    @classmethod
    def _one_of_both(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        imports = values.get("import", values.get("import_")) is not None
        if imports and values.get("name") is not None:
            raise ValueError("space.name and space.import exclude each other; keep one of them")
        return values if imports or values.get("name") is not None else {**values, "name": "seed"}


class EarlyStopping(Settings):
    """Which trials are stopped before their last epoch, so that workers are free for better ones.

    Asynchronous successive halving (https://arxiv.org/abs/1810.05934). A trial is compared at rungs: at `min_epochs`,
    then at `reduction_factor` times as many epochs each, with all trials that reached the rung before it, by its best
    objective so far; the first ones are compared again when others have come. With the defaults, at epochs 1, 3, 9, 27
    and so on. It is STOPPED where it is not among the best third, keeps its score and its model, and
    `cifake-tune trials` says why.
    """

    policy: Policy | None = None
    """asha, or none to train every trial to its end. Default: asha; none for hyperband, which has rungs of its own."""

    min_epochs: Positive = 1
    """Epochs that every trial trains: the first rung. Default: 1, where most of the saving is, since images are many
    and an epoch is long. Set more where the first epochs say little about the last, as with a warm-up."""

    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One trial in so many goes on beyond a rung; as long as fewer than this have reached one, all do at the first rung
    and the best one beyond later ones. Default: 3, near the e that is best in theory, and milder than the 4 of the
    paper: scores after one epoch are noisy."""


class Search(Settings):
    """Which trials are run, and which of them is best."""

    algorithm: Algorithm = Algorithm.RANDOM
    """random, bayesian, hyperband or grid."""

    max_trials: Positive = 10
    """Trials at most; fewer where the space has no more. Hyperband makes its own number out of training.epochs."""

    objective: str = "val_accuracy"
    """Metric of the model's `compile`, with `val_` for the validation images, whose best epoch scores a trial."""

    direction: Direction = Direction.AUTO
    """max or min; auto asks Keras Tuner, which knows Keras's own metrics."""

    early_stopping: EarlyStopping = EarlyStopping()
    """Which trials are stopped before their last epoch."""

    max_consecutive_failures: Positive = 3
    """So many different trials failed one after the other end the search: the model, not the trial, is broken."""

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
                "early_stopping.policy asha does not go with algorithm hyperband, which has rungs of its own; "
                "leave it out, or set it to none"
            )
        if stopping.get("policy") is not None:
            return values
        return {**values, "early_stopping": {**stopping, "policy": Policy.NONE if hyperband else Policy.ASHA}}


class Training(Settings):
    """How one trial is trained."""

    epochs: Positive = 10
    """Epochs a trial at most."""

    patience: Positive | None = None
    """End a trial after so many epochs without a better objective. Default: never."""


class Retries(Settings):
    """How often a trial is tried again, counted apart by what ended the attempt."""

    failure: Budget = 1
    """Exceptions of the model or its training. A trial whose loss is NaN is not tried again: it is seeded."""

    preemption: Annotated[int, Field(ge=10)] = 20
    """Workers preempted or lost. Not the trial's fault, so large; still bounded, or a trial that kills its
    worker would do so for ever."""

    out_of_memory: Budget = 1
    """Out of memory: another worker may have more."""


class Leases(Settings):
    """How long a worker is believed to be at work."""

    duration_s: Annotated[float, Field(gt=0)] = 30.0
    """A trial whose worker was silent for so long is given to another one. Heartbeats come three times as often."""

    stock_duration_s: Annotated[float, Field(gt=0)] = 3600.0
    """The same for Keras Tuner's own workers, which send no heartbeats: longer than their longest trial."""

    chief_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """A worker that cannot reach its chief for so long gives up (exit code 3)."""


class Evaluation(Settings):
    """What the evaluator does with the best model."""

    batch_size: Positive = 500
    """Images predicted at once; it changes speed and memory, not the result."""

    robustness_images: Budget = 2000
    """Of so many test images, chosen by the seed, the accuracy is also measured after recompression, blur, noise,
    resizing and flips; each is predicted 9 times. 0: of none. Default: 2000, which tells a loss of 2 % from none, and
    are predicted in the time of CIFAKE's 20,000."""


class Study(Settings):
    """All settings of one study."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "cifake"
    """Folder of the study in the bucket; lower-case letters, digits and dashes, 63 at most."""

    seed: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Makes suggestions, the validation images, initial weights and batches repeatable."""

    data: Data = Data()
    space: Space = Space(name="seed")
    search: Search = Search()
    training: Training = Training()
    retries: Retries = Retries()
    leases: Leases = Leases()
    evaluation: Evaluation = Evaluation()

    @property
    def validation_seed(self) -> int:
        """By which the validation images are chosen."""
        return self.seed if self.data.validation_seed is None else self.data.validation_seed
