"""The chief's life: recover the study, open a term, serve the workers, end.

It learns the space by building the model once, as Keras Tuner's chief does, and stays until every worker
that it knows has been told that the search is over. In a cluster it then starts the evaluation, and stays until that
is over too, so that whoever asks how far the study is has someone to ask.
"""

import asyncio
import gc
import logging
from contextlib import nullcontext

from tuner import names, spaces
from tuner.address import Address
from tuner.bucket import Bucket
from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.evaluation_job import ChiefJob
from tuner.chief.monitor import ChiefMonitor, linger
from tuner.chief.server import Chores, serve
from tuner.chief.service import Service, now
from tuner.chief.term import check_begun, nothing_to_search, open_term
from tuner.config.settings import Study
from tuner.data.manifest import find_data_sets, read_manifest
from tuner.errors import NoResultError, UsageError
from tuner.rpc import tls, tls_server_errors
from tuner.search.oracle import Oracle
from tuner.search.suggester import make_suggester, objective_of
from tuner.spaces.exploration import explore
from tuner.study.journal import JournalReader, check_whole
from tuner.study.progress import why_no_result
from tuner.study.state import StudyState
from tuner.study.tensorboard import EventFiles

log = logging.getLogger(__name__)


def run_chief(
    study: Study,
    data_digest: str | None,
    address: Address,
    encryption: tls.Files | None,
    cluster: ChiefJob | None,
    shown: ChiefMonitor,
) -> StudyState:
    """Run the search until it is over and return its final state; in a cluster, the evaluation too.

    Raises ConfigError (the study began with other settings), FencedError (a newer chief took over),
    PreemptedError (SIGTERM), NoResultError (no trial can be evaluated, or its evaluation failed), BucketError.
    """
    try:
        state = _run_chief(shown.bucket, study, data_digest, address, encryption, cluster, shown)
    except NoResultError:
        linger(cluster.linger_s if cluster else 0.0)
        raise
    linger(cluster.linger_s if cluster else 0.0)
    return state


def _run_chief(
    bucket: Bucket,
    study: Study,
    data_digest: str | None,
    address: Address,
    encryption: tls.Files | None,
    cluster: ChiefJob | None,
    shown: ChiefMonitor,
) -> StudyState:
    digest = find_data_set(bucket, data_digest)
    reader = JournalReader(bucket, study.name)
    reader.poll()
    check_whole(bucket, study.name, reader.next_number)
    check_begun(reader.state, study, digest)  # before the minutes that a user's own model may take to build
    if nothing_to_search(reader.state, study, cluster):
        return _over(bucket, reader.state, cluster, shown)
    manifest = read_manifest(bucket, digest)
    space = spaces.load_space(study.space, manifest.image_shape, len(manifest.classes))
    hyperparameters = spaces.narrow(explore(space, manifest.image_shape), study.space.values)
    objective = objective_of(study.search)
    suggester = make_suggester(study, hyperparameters, objective)
    journal = open_term(bucket, reader, study, digest, objective.direction, cluster, shown.journal_metrics)
    state = reader.state
    if journal is None:
        return _over(bucket, state, cluster, shown)
    suggester.restore(state)
    chores = Chores(SavedModels(bucket, state), EventFiles(bucket, state))

    async def serve_workers() -> None:
        gc.freeze()  # the imports' million objects: a fifth of the time went into looking for garbage among them
        service = Service(Oracle(state, now()), suggester, hyperparameters, journal, shown.service_metrics)
        await serve(service, chores, address, encryption, cluster, shown)

    with tls_server_errors.told(encryption) if encryption else nullcontext():
        asyncio.run(serve_workers())
    shown.over(state)
    if not state.best():
        raise NoResultError(why_no_result(state))
    return state


def find_data_set(bucket: Bucket, digest: str | None) -> str:
    """Return `digest`, or that of the bucket's only data set."""
    found = [digest] if digest else find_data_sets(bucket)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{bucket.url} has no data set; put one there with `cifake-tune data pack SOURCE BUCKET`.")
    raise UsageError(f"{bucket.url} has {len(found)} data sets; choose one with {names.ENV_DATA}.")


def _over(bucket: Bucket, state: StudyState, cluster: ChiefJob | None, shown: ChiefMonitor) -> StudyState:
    """Do what is left to do after a search."""
    shown.over(state)
    log.info("the search of study %s is over", state.settings.name)
    EventFiles(bucket, state).write()
    if not state.best():
        raise NoResultError(why_no_result(state))
    if cluster is not None:
        asyncio.run(shown.evaluate(cluster.evaluation_job))
    return state
