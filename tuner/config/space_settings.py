"""The settings of the search space: the section `space` of study.yaml."""

import json
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from tuner.config.section import Settings, Text, Value, Values

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
    def _name_or_import(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        has_import = values.get("import", values.get("import_")) is not None
        if has_import and values.get("name") is not None:
            raise ValueError("space.name and space.import are mutually exclusive. Remove one of them")
        return values if has_import or values.get("name") is not None else {**values, "name": "seed"}
