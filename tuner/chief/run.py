"""Runs a chief: recover the study, explore the space, open a term, serve the workers, start the evaluation.

Like Keras Tuner's chief, this chief explores the space by building the model once. It serves until all workers know
that the search has finished. In a cluster, the chief then starts the evaluation. It keeps running until the evaluation
has ended too, so that commands such as `status` can still call it.
"""

import asyncio
import gc
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from tuner.bucket import check_conditional_writes
from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.clock import now
from tuner.chief.context import ChiefContext
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.mlflow_follower import followed_by_mlflow
from tuner.chief.monitor import linger
from tuner.chief.plan import SearchPlan, learn_once, plan_search
from tuner.chief.server import Chores, serve
from tuner.chief.service import Service
from tuner.chief.term import open_term, recover
from tuner.chief.worker_deaths import WorkerDeaths, deaths_in_cluster
from tuner.data.manifest import read_manifest
from tuner.errors import EmptiedBucketError, JournalError, NoResultError, UsageError
from tuner.notification.study_end import announced_end
from tuner.rpc import tls_server_errors
from tuner.scripts.session import ScriptSearch, run_to_search
from tuner.scripts.settings import study_of
from tuner.scripts.space import check_same_space
from tuner.search.oracle import Oracle
from tuner.spaces.versions import space_version
from tuner.study.compatibility import changed_effects, check_unchanged, with_algorithm
from tuner.study.journal import JournalReader, check_not_emptied
from tuner.study.progress import why_no_result
from tuner.study.script_change import change_of_script
from tuner.study.state import StudyState
from tuner.study.tensorboard import EventFiles

log = logging.getLogger(__name__)

OVERWRITES = (
    "overwrite=True deletes nothing, so the study continues. To start afresh, use --set name=OTHER, or "
    "`cifake-tune delete` first"
)
"""The note about a script that constructs its Tuner with `overwrite=True`, if the study has trials."""


def run_chief_of_script(context: ChiefContext, given: Mapping[str, Any]) -> None:
    """Run the study's script up to its search, and then the chief with the settings of the script's Tuner.

    `given` are the settings of the user, without defaults, which override those of the script. Raises ScriptError and
    EnvironmentFailure if the script fails, and otherwise as `run_chief` does.
    """

    def take_over(search: ScriptSearch) -> None:
        derived = study_of(search, given)
        for sentence in derived.overridden:
            log.warning("%s", sentence)
        run_chief(replace(context, study=derived.study, script=search, notes=derived.overridden))

    log.info("running %s up to its search", context.study.space.script)
    run_to_search(context.study.space, take_over)


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
    if context.script is not None and context.script.overwrites and recovered.state.trials:
        log.warning("%s", OVERWRITES)
        context = replace(context, notes=(*context.notes, OVERWRITES))
    if recovered.is_over:
        return _continue_after_search(context, recovered.state)
    if context.bucket.url.startswith(("s3://", "az://")):  # many stores have these interfaces
        check_conditional_writes(context.bucket)
    manifest = None if context.study.data.own else read_manifest(context.bucket, context.digest)
    version = space_version(context.study.space, manifest.image_shape if manifest else None)
    check_unchanged(recovered.state, context.study, context.digest, version)
    plan = plan_search(with_algorithm(context.study, recovered.state.study), manifest, context.script)
    if context.script is not None:
        check_same_space(recovered.state, context.study.space, plan.hyperparameters)
    learned = learn_once(context, plan, recovered.state)
    recovered, journal = open_term(reader, context, plan.objective.direction, plan.model_sizes, version, learned)
    if journal is None:
        return _continue_after_search(context, recovered.state)
    return _search(context, plan, recovered.state, journal)


def _search(context: ChiefContext, plan: SearchPlan, state: StudyState, journal: JournalWriter) -> StudyState:
    """Serve the workers until the search and, in a cluster, the evaluation have ended."""
    plan.suggester.restore(state)
    chores = Chores(SavedModels(context.bucket, state), EventFiles(context.bucket, state))

    async def serve_workers() -> None:
        gc.freeze()  # exempts a million imported objects: collecting garbage among them took a fifth of the time
        oracle = Oracle(state, now())
        deaths = deaths_in_cluster() if context.cluster else WorkerDeaths()
        metrics = context.monitor.service_metrics
        service = Service(oracle, plan.suggester, plan.hyperparameters, journal, metrics, deaths, context.spare)
        await serve(service, chores, context)

    refusals = tls_server_errors.logged_refusals(context.tls) if context.tls else nullcontext()
    with _announced(context, state):
        with refusals, followed_by_mlflow(context):
            asyncio.run(serve_workers())
        context.monitor.show_finished(state)
        _check_result(state)
    return state


def _continue_after_search(context: ChiefContext, state: StudyState) -> StudyState:
    """Complete a study whose search has already ended: write missing files and, in a cluster, run the evaluation."""
    context.monitor.show_finished(state)
    log.info("the search of study %s has finished", state.settings.name)
    for change in changed_effects(state, context.study):
        log.warning("%s", change)
    if changed := change_of_script(state, context.study.space):
        log.warning("%s", changed)
    with followed_by_mlflow(context):
        EventFiles(context.bucket, state).write()
    with _announced(context, state):
        _check_result(state)
        if context.cluster is not None:
            asyncio.run(context.monitor.evaluate(context.cluster.evaluation_job))
    return state


def _announced(context: ChiefContext, state: StudyState) -> AbstractContextManager[None]:
    """Report the end of the study to notify.webhook. `run`, which evaluates itself, gives its chief no webhook."""
    return announced_end(
        context.bucket, lambda: state, context.study.notify.webhook, evaluates=context.cluster is not None
    )


def _check_result(state: StudyState) -> None:
    """Raise UsageError if every trial has a fault, and NoResultError if no trial can be evaluated."""
    if state.shared_fault:
        raise UsageError(state.shared_fault)
    if not state.best():
        raise NoResultError(why_no_result(state))
