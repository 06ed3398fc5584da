"""The contenders of a simulation: their names, and the modules and environments that run them."""

import importlib
from dataclasses import dataclass
from functools import partial

from bench.simulation.contender import Factory

OURS = "ours"
"""Name of this project's default configuration."""
_PACKAGE = "bench.simulation.contenders"


@dataclass(frozen=True)
class Entry:
    """A contender."""

    name: str
    """Name on the command line."""
    label: str
    """Name in tables and figures."""
    module: str
    function: str
    own_environment: bool = True
    """Whether the contender runs in `.venv-bench`, because this project does not depend on its package."""
    settings: tuple[str, ...] = ()
    """Settings of study.yaml, if the contender is this project."""

    def factory(self) -> Factory:
        """Import and return the function that makes the contender."""
        function = getattr(importlib.import_module(f"{_PACKAGE}.{self.module}"), self.function)
        made: Factory = partial(function, settings=self.settings) if self.settings else function
        return made


COMPETITORS = (
    Entry("keras-tuner-random", "Keras Tuner, random", "bare_keras_tuner", "random", own_environment=False),
    Entry("keras-tuner-hyperband", "Keras Tuner, Hyperband", "bare_keras_tuner", "hyperband", own_environment=False),
    Entry("keras-tuner-bayesian", "Keras Tuner, Bayesian", "bare_keras_tuner", "bayesian", own_environment=False),
    Entry("optuna-halving", "Optuna, TPE, successive halving", "optuna_search", "halving"),
    Entry("optuna-hyperband", "Optuna, TPE, Hyperband", "optuna_search", "hyperband"),
    Entry("optuna-median", "Optuna, TPE, median rule", "optuna_search", "median"),
    Entry("ray-asha", "Ray Tune, ASHA", "ray_tune_search", "RayTune"),
    Entry("syne-asha", "Syne Tune, ASHA", "syne_tune_search", "asha"),
    Entry("syne-cqr", "Syne Tune, CQR with ASHA", "syne_tune_search", "cqr"),
    Entry("syne-bohb", "Syne Tune, BOHB", "syne_tune_search", "bohb"),
)
BARE = ("keras-tuner-random", "keras-tuner-hyperband", "keras-tuner-bayesian")
"""Names of bare Keras Tuner's algorithms."""


def entry(name: str) -> Entry:
    """Return the contender with this name.

    `ours` is this project's default configuration, and `ours:KEY=VALUE,KEY=VALUE` is the project with these settings.
    The prefixes `search.` and `search.early_stopping.` of the settings may be omitted.
    """
    for known in COMPETITORS:
        if known.name == name:
            return known
    project, _, settings = name.partition(":")
    if project != OURS:
        names = ", ".join(known.name for known in COMPETITORS)
        raise SystemExit(f"there is no contender {name!r}. Use ours, ours:KEY=VALUE,… or one of {names}.")
    keys = tuple(_whole_key(setting) for setting in settings.split(",") if setting)
    return Entry(name, f"cifake-tune, {settings}" if settings else "cifake-tune", "ours", "Ours", False, keys)


def _whole_key(setting: str) -> str:
    key = setting.partition("=")[0]
    if "." in key:
        return setting
    return f"search.early_stopping.{setting}" if key in _EARLY_STOPPING else f"search.{setting}"


_EARLY_STOPPING = ("policy", "min_epochs", "reduction_factor")
