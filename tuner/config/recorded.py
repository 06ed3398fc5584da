"""Settings that a study has recorded. Unknown keys are ignored, because a newer minor version may have added them.

In study.yaml, the environment and `--set`, unknown keys remain errors, because there they are mistakes of the user.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator

from tuner.config.settings import Settings, Study


def _known_keys(values: Any, section: type[Settings] = Study) -> Any:
    """Return the values without unknown keys. Values that are not a mapping are returned unchanged."""
    if not isinstance(values, dict):
        return values
    known = {}
    for name, field in section.model_fields.items():
        for key in {name, field.alias or name} & values.keys():
            kind = field.annotation
            inner = kind if isinstance(kind, type) and issubclass(kind, Settings) else None
            known[key] = values[key] if inner is None else _known_keys(values[key], inner)
    return known


RecordedStudy = Annotated[Study, BeforeValidator(_known_keys)]
