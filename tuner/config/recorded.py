"""Settings that a study has recorded. Unknown keys are ignored, because a newer minor version may have added them.

In study.yaml, the environment and `--set`, unknown keys remain errors, because there they are mistakes of the user.
Numbers are moved into the range of their setting, because earlier versions had no upper bounds.
"""

from typing import Annotated, Any, get_args

from annotated_types import Ge, Le
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from tuner.config.section import Settings
from tuner.config.settings import Study


def _known_keys(values: Any, section: type[Settings] = Study) -> Any:
    """Return the values without unknown keys. Values that are not a mapping are returned unchanged."""
    if not isinstance(values, dict):
        return values
    known = {}
    for name, field in section.model_fields.items():
        for key in {name, field.alias or name} & values.keys():
            kind = field.annotation
            inner = kind if isinstance(kind, type) and issubclass(kind, Settings) else None
            known[key] = _in_range(values[key], field) if inner is None else _known_keys(values[key], inner)
    return known


def _in_range(value: Any, field: FieldInfo) -> Any:
    """Return a number within the bounds of the setting. Other values are returned unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number: Any = value  # bounds of annotated_types accept any type that can be compared
    optional = [argument for option in get_args(field.annotation) for argument in get_args(option)]
    for bound in [*field.metadata, *(bound for part in optional for bound in getattr(part, "metadata", ()))]:
        if isinstance(bound, Ge):
            number = max(number, bound.ge)
        elif isinstance(bound, Le):
            number = min(number, bound.le)
    return number


RecordedStudy = Annotated[Study, BeforeValidator(_known_keys)]
