"""The settings of Hyperband: the section `search.hyperband` of study.yaml."""

from typing import Annotated

from pydantic import Field

from tuner.config.section import MANY, Positive, Settings


class Hyperband(Settings):
    """Settings of `search.algorithm: hyperband`, which have no effect with other algorithms."""

    factor: Annotated[int, Field(ge=2, le=MANY)] = 3
    """Ratio of the epochs of a round to those of the round before it, and of the trials of a round to those that
    continue in the next one. Default: 3, as in Keras Tuner."""

    iterations: Positive = 1
    """Number of times that all brackets are run. Default: 1, as in Keras Tuner."""
