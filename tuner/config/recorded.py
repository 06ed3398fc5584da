"""Settings as they were recorded, maybe by a newer minor version of the program, whose new settings are ignored.

What users write (study.yaml, the environment, `--set`) keeps refusing unknown keys, which are mistakes there.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator

from tuner.config.settings import Settings, Study


def _known_keys(values: Any, section: type[Settings] = Study) -> Any:
    """Return the values without the keys that the section does not have; what is not a mapping stays as it is."""
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
