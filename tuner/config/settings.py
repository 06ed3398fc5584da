"""Study: one model of all settings, which is study.yaml and the chart's `study:` value.

Defaults < study.yaml < environment (`CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS=4`) < `--set search.max_trials=4`.
Unknown keys are errors that name the nearest known one.
"""

import difflib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tuner import names
from tuner.config.yaml import parse_value, read_settings
from tuner.errors import ConfigError

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


# ---- reading ------------------------------------------------------------------------------------
def load(file: Path | None = None, settings: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> Study:
    """Return the study that file, environment and `key=value` settings make.

    Raises ConfigError with the file or variable, the key, and what to write instead.
    """
    values: dict[str, Any] = read_settings(file) if file else {}
    origins: dict[str, str] = {}  # of the values that are not the file's
    for variable, text in sorted((environment or {}).items()):
        if variable.startswith(names.ENV_SETTING):
            path = variable.removeprefix(names.ENV_SETTING).lower().split("__")
            _put(values, path, parse_value(text, variable), variable)
            origins[".".join(path)] = variable
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {setting}: write it as key=value, for example search.max_trials=20.")
        _put(values, key.split("."), parse_value(text, f"--set {setting}"), f"--set {setting}")
        origins[key] = f"--set {setting}"
    return _validate(values, str(file) if file else "the settings", origins)


def parse(values: Mapping[str, Any], where: str) -> Study:
    """Return the study that `values` describe; `where` begins the message of the ConfigError if they do not."""
    return _validate(values, where, {})


def _validate(values: Mapping[str, Any], where: str, origins: Mapping[str, str]) -> Study:
    try:
        # JSON's rules, not Python's: enums may be strings, but "3" is no number
        return Study.model_validate_json(json.dumps(values), by_alias=True, by_name=False)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(f"{_origin(e, origins) or where}: {_sentence(e)}" for e in error.errors())
        ) from None
    except (TypeError, ValueError) as error:  # what JSON cannot say, such as YAML's !!set or an alias of itself
        raise ConfigError(f"{where}: {error}.") from None


def _origin(error: Any, origins: Mapping[str, str]) -> str | None:
    path = [str(part) for part in error["loc"]]
    return next((origins[key] for n in range(len(path), 0, -1) if (key := ".".join(path[:n])) in origins), None)


def dump(study: Study) -> dict[str, Any]:
    """Return all settings as plain values, the keys as in study.yaml; `parse` reads them back."""
    return study.model_dump(mode="json", by_alias=True)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of study.yaml."""
    return Study.model_json_schema(by_alias=True)


def _put(values: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    for depth, part in enumerate(path[:-1], start=1):
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{where}: {'.'.join(path[:depth])} is no section with keys in it.")
        values[part] = values = dict(inner)
    values[path[-1]] = value


def _sentence(error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path) or "study"
    if error["type"] == "extra_forbidden":
        known = _keys_beside(path)
        nearest = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        elsewhere = [other for other in all_keys() if other.rsplit(".", 1)[-1] == path[-1]]
        if nearest:
            return f"unknown key {key}; did you mean {'.'.join([*path[:-1], nearest[0]])}?"
        if elsewhere:
            return f"unknown key {key}; did you mean {elsewhere[0]}?"
        return f"unknown key {key}; known here: {', '.join(known) or 'none'}."
    given = json.dumps(error["input"], default=str)
    if error["type"] == "model_type":
        return f"{key}: must be a section with keys of its own, not {given}; leave it out for the defaults."
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: {given} does not fit. {_description(path)}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] == "value_error" else f", not {given}"
    return f"{key}: {message[0].lower()}{message[1:]}{given}."


def _section(path: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Study
    for part in path[:-1]:
        model = model.model_fields[part].annotation  # type: ignore[assignment]
    return model


def _keys_beside(path: list[str]) -> list[str]:
    return [field.alias or name for name, field in _section(path).model_fields.items()]


def _description(path: list[str]) -> str:
    fields = _section(path).model_fields
    return next(field.description or "" for name, field in fields.items() if path[-1] in (name, field.alias))


def all_keys() -> list[str]:
    """Return every setting's key, as `section.key`."""
    return _keys_of(Study, "")


def _keys_of(model: type[BaseModel], prefix: str) -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        section, key = field.annotation, f"{prefix}{field.alias or name}"
        if isinstance(section, type) and issubclass(section, Settings):
            keys += _keys_of(section, f"{key}.")
        else:
            keys.append(key)
    return keys
