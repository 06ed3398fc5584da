"""Runs a chief: recover the study, explore the space, open a term, serve the workers, start the evaluation.

Like Keras Tuner's chief, this chief explores the space by building the model once. It serves until all workers know
that the search has finished. In a cluster, the chief then starts the evaluation. It keeps running until the evaluation
has ended too, so that commands such as `status` can still call it.
"""

import asyncio
import gc
import logging
from contextlib import nullcontext
from dataclasses import dataclass

from keras_tuner import HyperModel
from keras_tuner.engine.hyperparameters import HyperParameters

from tuner import spaces
from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.context import ChiefContext
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.monitor import linger
from tuner.chief.server import Chores, serve
from tuner.chief.service import Service, now
from tuner.chief.term import open_term, recover
from tuner.chief.worker_deaths import WorkerDeaths, deaths_in_cluster
from tuner.config.settings import Study
from tuner.data.manifest import Manifest, read_manifest
from tuner.errors import EmptiedBucketError, JournalError, NoResultError, UsageError
from tuner.rpc import tls_server_errors
from tuner.search.oracle import Oracle
from tuner.search.suggester import Suggester, make_suggester, objective_of
from tuner.spaces.exploration import explore
from tuner.spaces.model_size import space_size
from tuner.spaces.versions import space_version
from tuner.study.compatibility import check_unchanged, effect_of_epochs
from tuner.study.journal import JournalReader, check_not_emptied
from tuner.study.objective import Objective
from tuner.study.progress import why_no_result
from tuner.study.records import ModelSizes
from tuner.study.state import StudyState
from tuner.study.tensorboard import EventFiles

log = logging.getLogger(__name__)


def run_chief(context: ChiefContext) -> StudyState:
    """Run the search and, in a cluster, the evaluation. Return the final state of the search.

    Raises ConfigError (the study began with other settings), FencedError (a newer chief took over),
    UsageError (a fault that every trial shares ended the search),
    PreemptedError (SIGTERM), NoResultError (no trial can be evaluated, or the evaluation failed), BucketError,
    JournalError (the journal is damaged), EmptiedBucketError (the bucket lost the journal meanwhile).
    """
    linger_s = context.cluster.linger_s if context.cluster else 0.0
    try:
        state = _run(context)
    except NoResultError:
        linger(linger_s)
        raise
    except (JournalError, EmptiedBucketError) as error:
        context.monitor.show_problem(str(error))
        asyncio.run(context.monitor.drain_page())
        raise
    linger(linger_s)
    return state


def _run(context: ChiefContext) -> StudyState:
    reader = JournalReader(context.bucket, context.study.name)
    try:
        recovered = recover(reader, context)  # checked early, because building a user's own model may take minutes
    except JournalError:
        check_not_emptied(context.bucket, context.study.name)  # whose error explains the gap
        raise
    if recovered.is_over:
        return _continue_after_search(context, recovered.state)
    manifest = None if context.study.data.own else read_manifest(context.bucket, context.digest)
    version = space_version(context.study.space, manifest.image_shape if manifest else None)
    check_unchanged(recovered.state, context.study, context.digest, version)
    plan = _plan_search(context.study, manifest)
    recovered, journal = open_term(reader, context, plan.objective.direction, plan.model_sizes, version)
    if journal is None:
        return _continue_after_search(context, recovered.state)
    return _search(context, plan, recovered.state, journal)


@dataclass(frozen=True)
class SearchPlan:
    """How new trials are chosen."""

    hyperparameters: HyperParameters
    """The space, narrowed by the study's setting space.values."""
    suggester: Suggester
    objective: Objective
    model_sizes: ModelSizes | None


def _plan_search(study: Study, manifest: Manifest | None) -> SearchPlan:
    """Explore the space by building the model once, and create the algorithm that samples it.

    `manifest` is None if the space brings its own data.
    """
    if manifest is None:
        space, image_shape = spaces.load_own_space(study.space), None
    else:
        image_shape = manifest.image_shape
        space = spaces.load_space(study.space, image_shape, len(manifest.classes))
    hyperparameters = spaces.narrow(explore(space, image_shape), study.space.values)
    objective = objective_of(study.search)
    suggester = make_suggester(study, hyperparameters, objective)
    return SearchPlan(hyperparameters, suggester, objective, _model_sizes(space, hyperparameters))


def _model_sizes(space: HyperModel, hyperparameters: HyperParameters) -> ModelSizes | None:
    """Log and return the sizes of the space's models."""
    size = space_size(space, hyperparameters)
    if size is None:
        return None
    log.info("with the default hyperparameters, the model has %s", size.default)
    if size.largest:
        log.info("with the largest ones, it has %s", size.largest)
    return ModelSizes(
        parameters=size.default.parameters,
        checkpoint_bytes=size.default.checkpoint_bytes,
        largest_parameters=size.largest.parameters if size.largest else None,
        largest_checkpoint_bytes=size.largest.checkpoint_bytes if size.largest else None,
    )


def _search(context: ChiefContext, plan: SearchPlan, state: StudyState, journal: JournalWriter) -> StudyState:
    """Serve the workers until the search and, in a cluster, the evaluation have ended."""
    plan.suggester.restore(state)
    chores = Chores(SavedModels(context.bucket, state), EventFiles(context.bucket, state))

    async def serve_workers() -> None:
        gc.freeze()  # exempts a million imported objects: collecting garbage among them took a fifth of the time
        oracle = Oracle(state, now())
        deaths = deaths_in_cluster() if context.cluster else WorkerDeaths()
        metrics = context.monitor.service_metrics
        service = Service(oracle, plan.suggester, plan.hyperparameters, journal, metrics, deaths)
        await serve(service, chores, context)

    with tls_server_errors.logged_refusals(context.tls) if context.tls else nullcontext():
        asyncio.run(serve_workers())
    context.monitor.show_finished(state)
    _check_result(state)
    return state


def _continue_after_search(context: ChiefContext, state: StudyState) -> StudyState:
    """Complete a study whose search has already ended: write missing files and, in a cluster, run the evaluation."""
    context.monitor.show_finished(state)
    log.info("the search of study %s has finished", state.settings.name)
    if change := effect_of_epochs(state, context.study):
        log.warning("%s", change)
    EventFiles(context.bucket, state).write()
    _check_result(state)
    if context.cluster is not None:
        asyncio.run(context.monitor.evaluate(context.cluster.evaluation_job))
    return state


def _check_result(state: StudyState) -> None:
    """Raise UsageError if every trial has a fault, and NoResultError if no trial can be evaluated."""
    if state.shared_fault:
        raise UsageError(state.shared_fault)
    if not state.best():
        raise NoResultError(why_no_result(state))
