"""Reads the trials of earlier studies from which an algorithm learns (search.learn_from)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING

from tuner.config.settings import Study
from tuner.errors import ConfigError
from tuner.spaces.values import problem
from tuner.study.objective import Objective
from tuner.study.records import LearnedTrial, TrialState, Value
from tuner.study.rungs import rung_at
from tuner.study.state import StudyState
from tuner.study.trial import SCORED, Trial

if TYPE_CHECKING:
    from keras_tuner.engine.hyperparameters import HyperParameter

log = logging.getLogger(__name__)


def learn(
    study: Study,
    space: "Sequence[HyperParameter]",
    objective: Objective,
    data_digest: str,
    read: Callable[[str], StudyState],
) -> tuple[LearnedTrial, ...]:
    """Return the trials of all studies in search.learn_from that are part of this study's space.

    Args:
        study: The settings of this study.
        space: Its hyperparameters, narrowed by space.values.
        objective: Its objective.
        data_digest: Digest of its data set.
        read: Returns the state of an earlier study, given its name or URL. The state has no settings if there is no
            such study.

    Raises:
        ConfigError: A study does not exist, has another objective, or has no trial in this study's space.
    """
    learned: list[LearnedTrial] = []
    for name in dict.fromkeys(study.search.learn_from):
        state = read(name)
        _check(name, state, space, objective)
        ended = [state.trials[trial_id] for trial_id in state.ended]
        scored = [trial for trial in ended if trial.state in SCORED and trial.repeats is None]
        found = [each for trial in scored if (each := _learned(name, trial, state, study, space)) is not None]
        if not found:
            raise ConfigError(
                f"search.learn_from: none of the {len(scored)} trials of study {name!r} that have a score is in this "
                "study's space, because they have other values. Remove the study, or widen the space."
            )
        log.info("learned from %d of %d trials of study %s", len(found), state.suggested_count, name)
        if state.data_digest != data_digest:
            log.warning("study %s, from which the search learns, has another data set: its scores may mislead", name)
        learned += found
    return tuple(learned)


def _check(name: str, state: StudyState, space: "Sequence[HyperParameter]", objective: Objective) -> None:
    if state.study is None:
        raise ConfigError(f"search.learn_from: there is no study {name!r}. Check its name and its bucket.")
    if state.objective != objective:
        theirs = state.objective
        raise ConfigError(
            f"search.learn_from: study {name!r} has the objective {theirs.name} ({theirs.direction}), and this study "
            f"{objective.name} ({objective.direction}). Remove the study, or search for the same objective."
        )
    ours = {hyperparameter.name for hyperparameter in space}
    chosen = {key for trial in state.trials.values() for key in trial.chosen}
    if not any(trial.state in SCORED for trial in state.trials.values()):
        raise ConfigError(f"search.learn_from: no trial of study {name!r} has ended with a score. Remove the study.")
    if not ours & chosen:
        raise ConfigError(
            f"search.learn_from: study {name!r} has the hyperparameters {', '.join(sorted(chosen))}, and this study "
            f"{', '.join(sorted(ours))}, so they have none in common. Remove the study."
        )


def _learned(
    name: str, trial: Trial, state: StudyState, study: Study, space: "Sequence[HyperParameter]"
) -> LearnedTrial | None:
    """Return what this study learns from a trial; None if it is outside the space or has no finite score."""
    values = _common(trial.chosen, space)
    if not values:
        return None
    scores = _best_so_far(trial, state.objective, study.training.epochs)
    if not scores:
        return None
    epochs = max(scores)
    is_whole = epochs == max(trial.epochs) + 1
    trained = state.settings.training.epochs >= study.training.epochs
    early_stopping = study.search.early_stopping
    rungs = {rung: score for each, score in scores.items() if (rung := rung_at(early_stopping, each)) is not None}
    return LearnedTrial(
        study=name,
        trial=trial.trial_id,
        hyperparameters=values,
        completed=trained and trial.state is TrialState.COMPLETED,
        epochs=epochs,
        score=trial.score if is_whole and trial.score is not None else scores[epochs],  # fit may have returned it
        rungs=rungs,
    )


def _common(chosen: Mapping[str, Value], space: "Sequence[HyperParameter]") -> dict[str, Value] | None:
    """Return the values of this space's hyperparameters; None if a value is outside the space.

    A hyperparameter whose condition is not met in this space is left out.
    """
    values: dict[str, Value] = {}
    for hyperparameter in space:
        is_active = all(condition.is_active(values) for condition in hyperparameter.conditions)
        if not is_active or hyperparameter.name not in chosen:
            continue
        if problem(hyperparameter, chosen[hyperparameter.name]):
            return None
        values[hyperparameter.name] = chosen[hyperparameter.name]
    return values


def _best_so_far(trial: Trial, objective: Objective, limit: int) -> dict[int, float]:
    """Return the best objective by number of epochs, for at most `limit` epochs."""
    scores: dict[int, float] = {}
    best = nan
    for epoch in sorted(trial.epochs):
        value = trial.epochs[epoch].get(objective.name, nan)
        best = value if not isfinite(best) or objective.is_better(value, best) else best
        if epoch < limit and isfinite(best):
            scores[epoch + 1] = best
    return scores
