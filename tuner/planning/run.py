"""Makes the plan of a study: explores its space, and times some of its models."""

import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import keras_tuner

from tuner import spaces
from tuner.bucket import Bucket
from tuner.chief.plan import learned_trials, restrictions_of
from tuner.config.settings import Study
from tuner.data.arrays import TrainingData, open_training
from tuner.data.manifest import Manifest
from tuner.errors import PreemptedError, SpaceError
from tuner.names import OWN_DATA, TrialId
from tuner.planning.plan import Place, Plan, make_plan
from tuner.planning.space_summary import summarize, within
from tuner.planning.timed_models import ModelTimer, TimedModel, sampled, timed_part
from tuner.search.suggester import objective_of
from tuner.spaces.error_cause import cause_of
from tuner.spaces.exploration import explore
from tuner.spaces.own_data import OwnTrainingData, load_training_parts
from tuner.training.loop import Task
from tuner.training.seeding import trial_seed

Shown = Callable[[str], AbstractContextManager[None]]
"""Returns a context manager that shows what the program is doing."""
LIMIT_S = 300.0
"""Seconds of timing after which no further model is timed, and a model is timed by the steps that it has trained."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Source:
    """A study's space with the data that it is trained on."""

    space: keras_tuner.HyperModel
    data: TrainingData | OwnTrainingData
    classes: int
    data_bytes: int


def plan_study(
    study: Study,
    bucket: Bucket,
    manifest: Manifest | None,
    cache: Path,
    workers: int,
    models: int,
    memory_bytes: int | None,
    shown: Shown = lambda _: nullcontext(),
    limit_s: float = LIMIT_S,
) -> Plan:
    """Return the plan of a study.

    Args:
        study: Settings of the study.
        bucket: Bucket with the data set.
        manifest: The data set; None if the space brings its own data.
        cache: Folder for unpacked data.
        workers: Number of workers that will run the search.
        models: Number of models to time.
        memory_bytes: Memory of one worker; None for that of this machine, divided by the workers.
        shown: Shows each step of the plan.
        limit_s: Time limit of all timing.

    Raises SpaceError if the space cannot be loaded, the settings do not fit it, or none of its sampled models can be
    trained. Raises ConfigError if nothing can be learned from a study of search.learn_from.
    """
    with shown("exploring the space"):
        source = _open(study, bucket, manifest, cache)
        shape = manifest.image_shape if manifest else None
        hyperparameters = spaces.narrow(explore(source.space, shape), study.space.values)
        summary = summarize(source.space, hyperparameters)
    default = summary.size.default.parameters if summary.size else None
    restrictions = restrictions_of(study, source.space, hyperparameters, default)
    summary = within(summary, study.search.constraints.parameters)
    learned = learned_trials(study, hyperparameters, manifest.digest if manifest else OWN_DATA, bucket)
    with shown("choosing models"):
        chosen = list(sampled(hyperparameters, models, study.seed, restrictions.is_rejected))
    timed = _time(study, source, chosen, shown, limit_s)
    place = Place(workers, source.data_bytes, memory_bytes or _memory_bytes(workers), _used_bytes())
    return make_plan(study, summary, timed, place, len(learned))


def _open(study: Study, bucket: Bucket, manifest: Manifest | None, cache: Path) -> _Source:
    if manifest is None:
        space = spaces.load_own_space(study.space)
        return _Source(space, load_training_parts(space, study.validation_seed), 0, 0)
    space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
    data = open_training(bucket, manifest, study.data.validation, study.validation_seed, cache)
    size = sum(shard.size_bytes for split in manifest.splits.values() for shard in split.shards)
    return _Source(space, data, len(manifest.classes), size)


def _time(
    study: Study,
    source: _Source,
    chosen: list[keras_tuner.HyperParameters],
    shown: Shown,
    limit_s: float,
) -> list[TimedModel]:
    if not chosen:
        raise SpaceError(
            "search.constraints rejects all sampled models. Allow larger models, or restrict the space to smaller ones "
            "with space.values."
        )
    part = timed_part(source.data, study.data.batch_size)
    if part is None:
        raise SpaceError(
            "the space's own data is a pipeline, and only arrays can be divided for timing. Let data(part) return "
            "arrays, or run a single trial with --set search.max_trials=1 instead."
        )
    task = Task(
        hyperparameters=chosen[0],
        seed=trial_seed(study.seed, TrialId("00000")),
        batch_size=study.data.batch_size,
        epochs=max(2, study.training.epochs),
        objective=objective_of(study.search),
        objective_is_set=study.search.names_objective,
    )
    timer, failure = ModelTimer(source.space, task, part, source.classes), ""
    timed: list[TimedModel] = []
    until = time.perf_counter() + limit_s
    for number, hp in enumerate(chosen, 1):
        if timed and time.perf_counter() >= until:
            log.warning("only %d of %d models were timed within %g s", len(timed), len(chosen), limit_s)
            break
        try:
            with shown(f"timing model {number} of {len(chosen)}"):
                timed.append(timer.time(hp, until))
        except PreemptedError:  # raised by the signal's handler
            raise
        except Exception as error:
            failure = cause_of(error)
            log.warning("a sampled model cannot be timed: %s (%s)", failure, hp.values)
    if not timed:
        raise SpaceError(f"none of {len(chosen)} sampled models can be trained: {failure}. Fix the space first.")
    return timed


def _memory_bytes(workers: int) -> int | None:
    """Return the memory of this machine for each of the workers; None if it is unknown."""
    with suppress(ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // workers
    return None


def _used_bytes() -> int:
    """Return the largest memory that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
