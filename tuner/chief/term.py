"""Recovers a study from its journal, and opens a term, which makes this chief the newest chief of the study."""

import logging
import secrets
import time
from dataclasses import dataclass
from typing import Literal

from tuner import names
from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.context import ChiefContext
from tuner.chief.evaluation_job import ChiefJob
from tuner.chief.journal_writer import JournalWriter
from tuner.config.settings import Study
from tuner.errors import FencedError
from tuner.study.algorithm_versions import algorithm_version
from tuner.study.compatibility import changed_effects, check_unchanged, with_algorithm
from tuner.study.journal import JournalReader
from tuner.study.needed_format import chief_format
from tuner.study.records import Learned, LearnedTrial, ModelSizes, Opened, Record, Retried, TrialState
from tuner.study.script_change import change_of_script, script_digest
from tuner.study.snapshots import Snapshotter
from tuner.study.state import StudyState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recovered:
    """The state of a study at the end of its journal, checked against this chief's settings and data set."""

    state: StudyState
    next_segment: int
    is_over: bool
    """Whether this chief has nothing to search."""


def recover(reader: JournalReader, context: ChiefContext) -> Recovered:
    """Read the journal to its end. Raises ConfigError, UsageError, JournalError, BucketError."""
    reader.poll()
    state = reader.state
    check_unchanged(state, context.study, context.digest)
    return Recovered(state, reader.next_number, nothing_to_search(state, context.study, context.cluster))


def open_term(
    reader: JournalReader,
    context: ChiefContext,
    direction: Literal["max", "min"],
    model_sizes: ModelSizes | None = None,
    space_version: int = 1,
    learned: tuple[LearnedTrial, ...] = (),
) -> tuple[Recovered, JournalWriter | None]:
    """Open the next term, and return the study's newest state with the journal to write to.

    The journal is None if an older chief has ended the search in the meantime, because no worker would then call this
    chief. An older chief that is still running may write the segment that this chief is about to write. This chief then
    reads the new segment and tries the next one, until it succeeds.
    """
    writer = secrets.token_hex(8)
    release = context.cluster.release if context.cluster else None
    while True:
        recovered = recover(reader, context)
        if recovered.is_over:
            return recovered, None
        state = recovered.state
        journal = JournalWriter(
            context.bucket,
            context.study.name,
            writer,
            recovered.next_segment,
            Snapshotter(context.bucket, state),
            context.monitor.journal_metrics,
            release,
            context.study.retries.environment_s,
        )
        retried = _to_retry(state)
        # before the record is written, because a worker would resume from these models
        SavedModels(context.bucket, state).delete([names.trial_prefix(context.study.name, trial) for trial in retried])
        study = with_algorithm(context.study, state.study).without_secrets()
        opened = Opened(
            format=chief_format(study, space_version),
            at=time.time(),
            term=state.term + 1,
            writer=writer,
            study=study,
            data=context.digest,
            direction=direction,
            start=context.cluster.start if context.cluster else "",
            release=release.name if release else "",
            namespace=release.namespace if release else "",
            model_sizes=model_sizes,
            space_version=space_version,
            algorithm_version=algorithm_version(study.search.algorithm),
            notes=context.notes,
            script_digest=script_digest(study.space),
        )
        records: list[Record] = [opened, *([Retried(at=opened.at, trials=retried)] if retried else [])]
        if learned and state.study is None:
            records.append(Learned(at=opened.at, trials=learned))
        try:
            journal.write(records)
        except FencedError:
            continue
        if state.release not in (None, release):
            log.warning("study %s last ran in %s; this chief takes it over", context.study.name, state.release)
        if state.trials:
            log.info(
                "study %s continues with %d trials, %d of them ended",
                context.study.name,
                len(state.trials),
                len(state.ended),
            )
        for change in changed_effects(state, context.study):
            log.warning("%s", change)
        if changed := change_of_script(state, context.study.space):
            log.warning("%s", changed)
        if retried:
            log.info("the search had given up; its %d failed trials are tried again", len(retried))
        for record in records:
            state.apply(record)
        return recovered, journal


def nothing_to_search(state: StudyState, study: Study, cluster: ChiefJob | None) -> bool:
    """Return whether this chief has nothing to search.

    A search that gave up begins again if a user starts it again, because the user may have fixed the cause. Its failed
    trials are then retried. It does not begin again if Kubernetes replaces the pod of the chief that gave up, because
    that chief's workers have exited.
    """
    return state.is_over(study) or (gave_up(state) and cluster is not None and state.start == cluster.start)


def _to_retry(state: StudyState) -> tuple[names.TrialId, ...]:
    """Return the failed trials of a search that gave up, except those that the model's own code refuses."""
    if not gave_up(state):
        return ()
    failed = (trial for trial in state.trials.values() if trial.state is TrialState.FAILED)
    return tuple(trial.trial_id for trial in failed if not trial.refused)


def gave_up(state: StudyState) -> bool:
    """Return whether the search has given up, after too many failures or because of a fault that all trials share."""
    return state.finished is not None and state.finished.failed
