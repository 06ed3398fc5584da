"""Opening a term: the newest chief of a study begins, if there is something to search."""

import logging
import secrets
import time
from typing import Literal

from tuner.bucket import Bucket
from tuner.chief.evaluation_job import ChiefJob
from tuner.chief.journal_writer import JournalWriter
from tuner.chief.metrics import JournalMetrics
from tuner.config.settings import Study
from tuner.errors import FencedError, UsageError
from tuner.study.compatibility import check_resume
from tuner.study.journal import JournalReader
from tuner.study.records import Opened
from tuner.study.snapshots import Snapshotter
from tuner.study.state import StudyState

log = logging.getLogger(__name__)


def open_term(
    bucket: Bucket,
    reader: JournalReader,
    study: Study,
    digest: str,
    direction: Literal["max", "min"],
    cluster: ChiefJob | None,
    metrics: JournalMetrics,
) -> JournalWriter | None:
    """Open the next term, and return the journal to write to; the reader's state is then the newest.

    None where an older chief has ended the search meanwhile: nobody would come to work for us.
    An older chief that is still at work takes the segment that we were about to write, again and again: we read on
    until ours is the next.
    """
    writer = secrets.token_hex(8)
    while True:
        reader.poll()
        state = reader.state
        check_begun(state, study, digest)
        if nothing_to_search(state, study, cluster):
            return None
        journal = JournalWriter(bucket, study.name, writer, reader.next_number, Snapshotter(bucket, state), metrics)
        opened = Opened(
            at=time.time(),
            term=state.term + 1,
            writer=writer,
            study=study,
            data=digest,
            direction=direction,
            start=cluster.start if cluster else "",
        )
        try:
            journal.write([opened])
        except FencedError:
            continue
        if state.trials:
            log.info("study %s goes on: %d trials, %d ended", study.name, len(state.trials), len(state.ended))
        state.apply(opened)
        return journal


def check_begun(state: StudyState, study: Study, digest: str) -> None:
    """Raise ConfigError or UsageError if the study began with settings or a data set that do not go with these."""
    if state.study is None:
        return
    check_resume(state.study, study)
    if state.data_digest != digest:
        raise UsageError(
            f"study {study.name!r} has begun with the data set {state.data_digest[:12]}, not {digest[:12]}; "
            "use that one, or choose another `name`."
        )


def nothing_to_search(state: StudyState, study: Study, cluster: ChiefJob | None) -> bool:
    """Say whether this chief has nothing to search.

    A search that gave up begins again when a person starts it again, having mended something, but not when Kubernetes
    replaces the pod of a chief that has said so: its workers are gone.
    """
    gave_up = state.finished is not None and state.finished.failed
    return state.is_over(study) or (gave_up and cluster is not None and state.start == cluster.start)
