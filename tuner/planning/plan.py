"""The plan of a search: epochs, worker-hours, bytes, time and cost, with warnings about settings that do not fit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from tuner.chief.checkpoint_retention import models_kept
from tuner.config.settings import Algorithm, Policy, Study
from tuner.planning.expected_epochs import ExpectedEpochs, expected_epochs
from tuner.planning.space_summary import SpaceSummary
from tuner.planning.timed_models import TimedModel
from tuner.search.reserve import MOST
from tuner.search.suggester.initial_points import without_model
from tuner.study.budgets import HOUR_S
from tuner.study.ending import HOURS
from tuner.study.worker_hours import cost_of

RECORD_BYTES = 600
"""Size of the records of one epoch in the journal, with their share of a segment's header."""
MODELS_AT_WORK = 3
"""Checkpoints of a running trial: of the best epoch, the newest epoch and the one being uploaded."""
GIGABYTE = 1e9
BUDGETS_OF_HOURS = tuple(f"search.{name}" for name in HOURS)


@dataclass(frozen=True)
class Place:
    """Where the search will run."""

    workers: int
    data_bytes: int
    """Size of the packed data set; 0 if the space brings its own data."""
    memory_bytes: int | None
    """Memory of one worker; None if unknown."""
    used_bytes: int
    """Memory that this process used while it timed the models."""


class PlannedModel(BaseModel):
    """A sampled model that was timed on this machine."""

    model_config = ConfigDict(frozen=True)

    hyperparameters: dict[str, bool | int | float | str]
    parameters: int | None
    step_ms: float
    epoch_s: float
    trial_s: float
    """With the expected number of epochs."""


class Plan(BaseModel):
    """What a search will take."""

    model_config = ConfigDict(frozen=True)

    study: str
    hyperparameters: dict[str, str]
    combinations: float | None
    """None if a hyperparameter is continuous."""
    smallest_parameters: int | None
    default_parameters: int | None
    """None if it is unknown, or if search.constraints rejects the model."""
    largest_parameters: int | None
    models: list[PlannedModel]
    trials: float | None
    """None if only budgets that depend on results limit it."""
    epochs_per_trial: float
    epochs: float | None
    repetitions: int
    """Number of times that a trial is trained again after the search (search.confirm). Epochs and hours include them.
    """
    worker_hours: float | None
    workers: int
    finish_hours: float | None
    """Hours of searching, with this number of workers, each as fast as this machine."""
    limited_by: str
    """What ends the search first, as far as that is known: `search.max_trials`, `the space`, or a budget of hours."""
    bucket_bytes: float
    """Largest size of the study's folder and of its data set during the search."""
    cost: float | None
    warnings: list[str]


def make_plan(study: Study, space: SpaceSummary, models: list[TimedModel], place: Place, learned: int = 0) -> Plan:
    """Return the plan of a search from the speed of some of its models.

    `learned` is the number of trials of earlier studies (search.learn_from).
    """
    expected = expected_epochs(study, space.combinations)
    trial_s = fmean(model.trial_s(expected.per_trial) for model in models)
    confirm, whole = study.search.confirm, study.training.epochs
    repetitions = confirm.trainings
    if expected.trials is not None:
        repetitions = confirm.seeds * min(confirm.best, int(expected.trials))
    repeated_s = repetitions * fmean(model.trial_s(whole) for model in models)
    hours, limited_by = _worker_hours(study, expected, trial_s, repeated_s, place.workers)
    trials = expected.trials
    if hours is not None and limited_by in BUDGETS_OF_HOURS:
        trials = (hours * HOUR_S - min(repeated_s, MOST * hours * HOUR_S)) / trial_s
    epochs = None if trials is None else trials * expected.per_trial + repetitions * whole
    checkpoint_bytes = max(model.checkpoint_bytes for model in models)
    kept = models_kept(confirm) + 2 * repetitions + MODELS_AT_WORK * place.workers + _paused_models(study, trials)
    size = space.size
    return Plan(
        study=study.name,
        hyperparameters=space.hyperparameters,
        combinations=space.combinations if math.isfinite(space.combinations) else None,
        smallest_parameters=space.smallest_parameters,
        default_parameters=_default_parameters(study, space),
        largest_parameters=size.largest.parameters if size and size.largest else None,
        models=[
            PlannedModel(
                hyperparameters=model.hyperparameters,
                parameters=model.parameters,
                step_ms=round(1000 * model.step_s, 3),
                epoch_s=round(model.epoch_s, 3),
                trial_s=round(model.trial_s(expected.per_trial), 3),
            )
            for model in models
        ],
        trials=trials,
        epochs_per_trial=expected.per_trial,
        epochs=epochs,
        repetitions=repetitions,
        worker_hours=hours,
        workers=place.workers,
        finish_hours=None if hours is None else max(hours / place.workers, min(hours, trial_s / HOUR_S)),
        limited_by=limited_by,
        bucket_bytes=place.data_bytes + kept * checkpoint_bytes + RECORD_BYTES * (epochs or 0),
        cost=None if hours is None else cost_of(hours * HOUR_S, study.cost),
        warnings=list(_warnings(study, space, expected, models, place, learned)),
    )


def _default_parameters(study: Study, space: SpaceSummary) -> int | None:
    """Return the parameters of the default model, if it may be trained."""
    limit: int | None = study.search.constraints.parameters
    parameters = space.size.default.parameters if space.size else None
    return None if parameters is None or (limit is not None and parameters > limit) else parameters


def _paused_models(study: Study, trials: float | None) -> float:
    """Return the number of checkpoints of paused trials: two of each that may still be promoted, as usual."""
    stopping = study.search.early_stopping
    if stopping.policy is not Policy.PROMOTION or trials is None:
        return 0
    return 2 * trials / (stopping.reduction_factor - 1)


def _worker_hours(
    study: Study, expected: ExpectedEpochs, trial_s: float, repeated_s: float, workers: int
) -> tuple[float | None, str]:
    """Return the worker-hours until the first known limit, with those of repetitions, and that limit."""
    search = study.search
    limits: list[tuple[float, str]] = []
    if expected.trials is not None:
        is_space = search.max_trials is None or expected.trials < search.max_trials
        name = (
            "hyperband" if search.algorithm is Algorithm.HYPERBAND else "the space" if is_space else "search.max_trials"
        )
        limits.append(((expected.trials * trial_s + repeated_s) / HOUR_S, name))
    if search.max_worker_hours is not None:
        limits.append((search.max_worker_hours, "search.max_worker_hours"))
    if search.max_hours is not None:
        limits.append((search.max_hours * workers, "search.max_hours"))
    return min(limits) if limits else (None, "")


def _warnings(
    study: Study, space: SpaceSummary, expected: ExpectedEpochs, models: list[TimedModel], place: Place, learned: int
) -> Iterator[str]:
    search = study.search
    if warning := without_model(search, len(space.hyperparameters), learned):
        yield warning.removesuffix(".")
    whole_s = [model.trial_s(study.training.epochs) for model in models]
    for budget, hours in (("max_hours", search.max_hours), ("max_worker_hours", search.max_worker_hours)):
        if hours is not None and hours * HOUR_S < max(whole_s):
            yield (
                f"search.{budget} is {hours:g} h, but a trial of {study.training.epochs} epochs takes up to "
                f"{max(whole_s) / HOUR_S:.2g} h here, so some trials cannot be trained to their end. Raise the "
                "budget, or reduce training.epochs"
            )
    slowest_s = max(model.start_s + model.epoch_s for model in models)
    if study.training.max_minutes is not None and study.training.max_minutes * 60 < slowest_s:
        yield (
            f"training.max_minutes is {study.training.max_minutes:g}, but a first epoch takes up to "
            f"{slowest_s / 60:.2g} minutes here, so every trial may be stopped after it"
        )
    if expected.trials is None and search.max_hours is None and search.max_worker_hours is None:
        yield (
            "only search.target or search.patience_trials ends this search, which may take arbitrarily long. Set "
            "search.max_hours too"
        )
    if expected.trials is not None and expected.trials < place.workers:
        yield f"{place.workers} workers will have only {expected.trials:g} trials, so some workers stay idle"
    needed = _needed_bytes(space, place)
    if place.memory_bytes is not None and needed > place.memory_bytes:
        yield (
            f"the largest model needs about {needed / GIGABYTE:.1f} GB of memory, and a worker has "
            f"{place.memory_bytes / GIGABYTE:.1f} GB. Restrict the space with space.values, or reduce data.batch_size"
        )


def _needed_bytes(space: SpaceSummary, place: Place) -> float:
    """Return the memory that the largest model needs at least: what was used here, its weights and their gradients."""
    if space.size is None or space.size.largest is None:
        return place.used_bytes
    largest = space.size.largest
    return place.used_bytes + largest.checkpoint_bytes + 4 * largest.parameters
