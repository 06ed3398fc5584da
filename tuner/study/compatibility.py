"""Which settings of a study may change when it is resumed."""

import json
from collections.abc import Mapping
from typing import Any

from tuner.config.loading import dump
from tuner.config.settings import BUDGETS, DEFAULT_TRIALS, Algorithm, Study
from tuner.errors import ConfigError, UsageError
from tuner.study.algorithm_versions import algorithm_version
from tuner.study.state import StudyState

GROWING = ("search.max_trials", "training.max_minutes", "training.epochs")
"""Settings that may grow, also to no limit; training.epochs only with some algorithms."""
ALGORITHMS_WITH_MORE_EPOCHS = (Algorithm.RANDOM, Algorithm.GRID, Algorithm.TPE)
OPERATIONAL = (
    "search.max_consecutive_failures",
    "search.finalists",
    *(f"search.{budget}" for budget in BUDGETS),
    "search.grace_minutes",
    "training.devices",
    "training.compilation_cache_mb",
    "cost.",
    "tracking.",
    "notify.",
    "retries.",
    "leases.",
    "evaluation.",
    "data.source",
    "space.code",
    "space.arguments",  # what a script does with them shows in its other settings
)  # do not affect any result, but for rounding

PACKING = ("data.resize", "data.convert", "data.test", "data.labels", "data.columns.")
"""Settings that have no effect if a study has no `data.source`, because it keeps its data set."""

MAX_TRIALS = "search.max_trials"
VALUES = "space.values"  # compared as a whole, because users choose its keys


def with_algorithm(study: Study, recorded: Study | None) -> Study:
    """Return the settings with the algorithm that `search.algorithm: auto` stands for.

    That is TPE, or `random` if the study began with it (`recorded`; None if it has not begun), because `random` was the
    default of version 0.1.0.
    """
    if study.search.algorithm is not Algorithm.AUTO:
        return study
    is_random = recorded is not None and recorded.search.algorithm is Algorithm.RANDOM
    algorithm = Algorithm.RANDOM if is_random else Algorithm.TPE
    return study.model_copy(update={"search": study.search.model_copy(update={"algorithm": algorithm})})


def check_resume(recorded: Study, requested: Study, trials: int) -> None:
    """Raise ConfigError if a study with the settings `recorded` cannot be resumed with the settings `requested`.

    The error names the differences. The number of trials may grow, or become limited to at least `trials`, the number
    of trials that the study has. Settings that do not affect any result may change, such as the budgets of the search.
    The number of epochs may grow with random and grid search, and with TPE, which only ranks the trials. It may not
    grow with hyperband, because its rungs depend on the number of epochs, nor with a Gaussian process, because it would
    compare trials of different lengths.
    """
    recorded = with_algorithm(recorded, None)
    requested = with_algorithm(requested, recorded)
    recorded_values, requested_values = _flat(dump(recorded)), _flat(dump(requested))
    refused, advice = [], ""
    for key, old in recorded_values.items():
        new = requested_values[key]
        if old == new or key.startswith(OPERATIONAL):
            continue
        if key.startswith(PACKING) and requested.data.source is None:
            continue
        grown = key in GROWING and old is not None and (new is None or new > old)
        epochs_free = key != "training.epochs" or requested.search.algorithm in ALGORITHMS_WITH_MORE_EPOCHS
        if grown and epochs_free:
            continue
        if key == MAX_TRIALS and old is None:
            if new >= trials or requested.search.algorithm is Algorithm.HYPERBAND:  # which ignores it
                continue
            advice = _advice_on_trials(recorded, new, trials)
            continue
        refused.append(f"{key} was {json.dumps(old)}, is now {json.dumps(new)}")
    if refused:
        raise ConfigError(
            f"study {requested.name!r} was started with other settings: {'; '.join(refused)}. "
            "Restore these settings, or choose another `name` to start a new study."
        )
    if advice:
        raise ConfigError(f"study {requested.name!r} {advice}")


def _advice_on_trials(recorded: Study, limit: int, trials: int) -> str:
    """Return why a study that did not limit its trials cannot limit them to this number, and what to set instead."""
    budgets = " and ".join(f"search.{budget}" for budget in _budgets(recorded))
    return (
        f"was limited by {budgets} and not by search.max_trials, which is {limit} now (the default without another "
        f"budget is {DEFAULT_TRIALS}). It has {trials} trials already. Set search.max_trials to {trials} or more, or "
        f"keep {budgets}."
    )


def _budgets(study: Study) -> list[str]:
    """Return the budgets of a study besides its number of trials."""
    return [budget for budget in BUDGETS if getattr(study.search, budget) is not None]


def changed_effects(state: StudyState, study: Study) -> list[str]:
    """Return a sentence for each effect of changed settings that users may not expect."""
    return [effect for effect in (_effect_of_budgets(state, study), _effect_of_epochs(state, study)) if effect]


def _effect_of_budgets(state: StudyState, study: Study) -> str:
    """Return how the maximum number of trials changes because other budgets are set or removed; empty if it does not.

    Users who set or remove these budgets may not expect that the default of search.max_trials depends on them.
    """
    if state.study is None or state.study.search.max_trials == study.search.max_trials:
        return ""
    old, new = state.study.search.max_trials, study.search.max_trials
    if new is None:
        budgets = " and ".join(f"search.{budget}" for budget in _budgets(study))
        return (
            f"search.max_trials was {old}, and the number of trials is not limited now, because {budgets} ends the "
            f"search. To keep the limit, set search.max_trials={old}."
        )
    if old is None:
        return f"the number of trials was not limited, and search.max_trials is now {new}."
    return ""


def _effect_of_epochs(state: StudyState, study: Study) -> str:
    """Return what a new value of training.epochs changes in a study that has trials; empty if it is not new."""
    if state.study is None or state.study.training.epochs == study.training.epochs or not state.trials:
        return ""
    old, new, ended = state.study.training.epochs, study.training.epochs, len(state.ended)
    what = "trials that have not ended and new trials are" if ended < len(state.trials) else "only new trials are"
    more = (
        f" To add new trials, set search.max_trials to more than {study.search.max_trials}."
        if study.search.max_trials is not None and state.suggested_count >= study.search.max_trials
        else ""
    )
    return (
        f"training.epochs was {old} and is now {new}: {what} trained for {new} epochs, and the {ended} trials that "
        f"have ended keep their results.{more} To train all trials for {new} epochs, use another name."
    )


def check_unchanged(state: StudyState, study: Study, digest: str | None, space_version: int | None = None) -> None:
    """Raise UsageError if the study began with settings, a data set or networks that do not match these.

    Args:
        state: State of the study, which may not have begun.
        study: The requested settings. A difference raises ConfigError; see `check_resume`.
        digest: Digest of the data set; None if it is not known yet.
        space_version: Version of the networks that would be trained (`tuner.spaces.versions`); None if not known yet.
    """
    if state.study is None:
        return
    check_resume(state.study, study, len(state.trials))
    study = with_algorithm(study, state.study)
    if digest is not None and state.data_digest != digest:
        raise UsageError(
            f"study {study.name!r} was started with the data set {state.data_digest[:12]}, but this chief has the data "
            f"set {digest[:12]}. Use the first data set, or choose another `name` to start a new study."
        )
    if state.algorithm_version != algorithm_version(study.search.algorithm) and not state.is_over(study):
        raise UsageError(
            f"study {study.name!r} was started with another version of cifake-tune, whose search.algorithm "
            f"{study.search.algorithm} suggests other trials. Choose another `name` to start a new study, which can "
            "learn from this one (search.learn_from), or continue with that version."
        )
    if space_version not in (None, state.space_version) and not state.is_over(study):
        raise UsageError(
            f"study {study.name!r} was started with another version of cifake-tune, whose space {study.space.name!r} "
            "has other networks for images of this size. Choose another `name` to start a new study, or continue with "
            "that version."
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and f"{prefix}{key}" != VALUES:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
