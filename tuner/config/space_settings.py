"""The settings of the search space: the section `space` of study.yaml."""

import json
from itertools import combinations
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from tuner.config.section import Positive, Settings, Text, Value, Values

BUILT_IN_SPACES = ("seed", "deep")
"""Names of the built-in spaces. A test compares them with `tuner.spaces`."""


class Space(Settings):
    """The search space: the hyperparameters and the model built from them."""

    # for editors and helm: at most one of `name`, `import` and `script` is a text
    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "anyOf": [
                    {"required": list(pair), "properties": {key: {"type": "string"} for key in pair}}
                    for pair in combinations(("name", "import", "script"), 2)
                ]
            }
        }
    )

    name: Annotated[Text | None, Field(json_schema_extra={"enum": [*BUILT_IN_SPACES, None]})] = None
    """Name of a built-in space. Default: `seed`, the published space, unless `import` or `script` is set."""

    import_: Annotated[str | None, Field(alias="import", pattern=r"^[\w.]+:\w+$")] = None
    """Your own space, written as `module:name`: a function `build_model(hp)` that returns a compiled model, a Keras
    Tuner `HyperModel` class, or an object of such a class. It replaces `name`."""

    script: Annotated[str | None, Field(pattern=r"^[\w.-]+\.py$")] = None
    """File name of a Keras Tuner script in the folder `code`, such as `tune.py`, which every process runs as it is. Its
    Tuner sets the other settings unless you set them. It replaces `name`; the option `--script PATH` of `run` sets
    it."""

    arguments: list[Text] = []  # noqa: RUF012  (pydantic copies defaults)
    """Command-line arguments of `script`. Default: none."""

    tuner: Positive = 1
    """Number of the Tuner to search, from 1, if `script` constructs several. Default: 1, the first."""

    code: Text | None = None
    """Folder of `script`, or folder that is added to Python's path before `import` is resolved. Default: the working
    directory."""

    values: dict[str, Value | Values] = {}  # noqa: RUF012  (pydantic copies defaults)
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
    def _one_source(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        chosen = {
            "space.name": values.get("name"),
            "space.import": values.get("import", values.get("import_")),
            "space.script": values.get("script"),
        }
        named = [key for key, value in chosen.items() if value is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} are mutually exclusive. Remove one of them")
        for key in ("arguments", "tuner"):
            if chosen["space.script"] is None and values.get(key, default := cls.model_fields[key].default) != default:
                raise ValueError(f"{key} has no effect without script. Set script, or remove {key}")
        return values if named else {**values, "name": "seed"}
