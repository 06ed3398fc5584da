"""The format of a study's settings: the oldest version whose chiefs and workers handle them correctly.

A reader of format 1.x ignores settings that it does not know. That is right for most of them, such as the size of a
cache. If a setting decides which trials a search has, how they are trained or when the search ends, such a reader would
make another search of the study, so the records with it have the format 2.0, which the reader refuses.
"""

from typing import Any

from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.config.settings import Algorithm, Policy, Study
from tuner.study.algorithm_versions import FIRST, algorithm_version

DECISIVE = (
    "data.own",
    "search.confirm.seeds",
    "search.constraints.parameters",
    "search.first",
    "search.hyperband.factor",
    "search.hyperband.iterations",
    "search.learn_from",
    "search.max_hours",
    "search.max_worker_hours",
    "search.patience_trials",
    "search.target",
    "space.script",
    "training.max_minutes",
)
"""Settings that readers of format 1.x do not know and must not ignore, if they have another value than the default."""
ALGORITHMS = (Algorithm.RANDOM, Algorithm.GRID, Algorithm.HYPERBAND, Algorithm.BAYESIAN)
"""The algorithms that they know."""


def chief_format(study: Study, space_version: int) -> str:
    """Return the format of a record with a study's settings, which a chief that continues the study must know.

    `space_version` is the version of the built-in space's networks (`tuner.spaces.versions`).
    """
    default = Study()
    is_new = (
        worker_format(study, space_version) == FORMAT
        or algorithm_version(study.search.algorithm) != FIRST
        or any(_value(study, key) != _value(default, key) for key in DECISIVE)
    )
    return FORMAT if is_new else COMPATIBLE


def worker_format(study: Study, space_version: int) -> str:
    """Return the format of the message with a study's settings, which a worker of the study must know.

    The chief decides when trials and the search end, so fewer settings matter than in `chief_format`.
    """
    search = study.search
    is_new = (
        search.algorithm not in ALGORITHMS
        or search.early_stopping.policy is Policy.PROMOTION
        or search.max_trials is None
        or study.data.own
        or study.space.script is not None
        or space_version != 1
    )
    return FORMAT if is_new else COMPATIBLE


def _value(study: Study, key: str) -> Any:
    value: Any = study
    for part in key.split("."):
        value = getattr(value, part)
    return value
