"""The settings that limit models: the section `search.constraints` of study.yaml."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from tuner.config.section import Settings


class Constraints(Settings):
    """Limits that a model must satisfy to be trained."""

    parameters: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Maximum number of parameters of a model, such as `5e6`. The chief counts them without creating weights. A larger
    model becomes no trial and is not suggested again. If 200 suggestions in a row are too large, no further trial is
    suggested, except by `grid`, which looks at all combinations. Default: not set, so that models may have any size."""

    @field_validator("parameters", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        """Accept 5e6, which YAML and JSON read as a floating-point number."""
        return int(value) if isinstance(value, float) and value.is_integer() else value
