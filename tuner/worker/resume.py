"""Where an attempt resumes: at the newest intact checkpoint of its trial, even if that was never reported.

An earlier attempt may have continued while the chief was unreachable and died before it could report. Then the new
attempt reports the epochs whose checkpoints are durable (`ResumePoint.unreported`) instead of training them again. If
the newest checkpoint is damaged or missing, an older one is used. The best epoch's checkpoint is always kept.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import NewerFormatError, ObjectNotFoundError
from tuner.study.evidence import NO_EVIDENCE, Evidence
from tuner.study.trial import same_metrics
from tuner.training.checkpoint import CheckpointState, DamagedCheckpointError, read_progress, sha256
from tuner.worker.chief_client import Grant
from tuner.worker.epoch_reporter import Epoch

log = logging.getLogger(__name__)

History = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class ResumePoint:
    """The state from which an attempt resumes. By default, the attempt starts from scratch."""

    first_epoch: int = 0
    file: Path | None = None
    """Checkpoint of the epoch before `first_epoch`."""
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    """Metrics of the trial's epochs before `first_epoch`."""
    unreported: tuple[Epoch, ...] = ()
    """Epochs before `first_epoch` that the chief does not know."""
    objects: Mapping[str, int] = field(default_factory=dict)
    """All checkpoints of older attempts in the bucket, with their epochs."""
    returned: bool = False
    """Whether `fit` returned the objective of the last epoch, so that nothing is left to do."""


@dataclass(frozen=True)
class _Object:
    name: str
    attempt: int
    epoch: int


def find_resume_point(bucket: Bucket, study: str, grant: Grant, known: History, folder: Path) -> ResumePoint:
    """Return where the attempt resumes, with the checkpoint downloaded into `folder`.

    `known` contains the chief's metrics of the epochs before `grant.first_epoch`. Raises BucketError, and also
    NewerFormatError if a newer major version has saved a checkpoint.
    """
    if grant.attempt == 1 and grant.checkpoint is None:
        return ResumePoint()
    fetcher = CheckpointFetcher(bucket, grant, known, folder)
    objects = list(_objects(bucket, study, grant)) if grant.attempt > 1 else []
    # within an epoch, the reported checkpoint comes first because the chief has not recorded the others
    newest_first = sorted(objects, key=lambda o: (o.epoch, o.name == grant.checkpoint, o.attempt), reverse=True)
    epochs = {object_.name: object_.epoch for object_ in objects}
    for candidate in newest_first:
        progress = fetcher.progress(candidate)
        if progress is not None:
            return ResumePoint(
                first_epoch=candidate.epoch + 1,
                file=fetcher.file(candidate.name),
                history=dict(progress.history),
                unreported=tuple(_missing(fetcher, newest_first, candidate, progress, grant)),
                objects=epochs,
                returned=progress.returned,
            )
    other_trials = grant.checkpoint if grant.checkpoint not in epochs else None  # Hyperband continues another trial
    if other_trials is not None and fetcher.read(other_trials) is not None:
        return ResumePoint(grant.first_epoch, fetcher.file(other_trials), objects=epochs)
    return ResumePoint(objects=epochs)


def _objects(bucket: Bucket, study: str, grant: Grant) -> Iterator[_Object]:
    for name in bucket.list(names.trial_prefix(study, grant.trial_id)):
        parsed = names.parse_checkpoint(name)
        if parsed is not None and parsed.attempt < grant.attempt:
            yield _Object(name, parsed.attempt, parsed.epoch)


def _missing(
    fetcher: "CheckpointFetcher", objects: list[_Object], newest: _Object, progress: CheckpointState, grant: Grant
) -> Iterator[Epoch]:
    """Yield the epochs that the chief does not know, each with its checkpoint if that is intact."""
    for epoch in sorted(epoch for epoch in progress.history if epoch >= grant.first_epoch):
        of_epoch = [newest] if epoch == newest.epoch else [object_ for object_ in objects if object_.epoch == epoch]
        intact = next((object_.name for object_ in of_epoch if fetcher.progress(object_) is not None), None)
        digest = None if intact is None else sha256(fetcher.file(intact))
        evidence = Evidence(progress.verified, progress.returned) if epoch == newest.epoch else NO_EVIDENCE
        yield Epoch(epoch, progress.history[epoch], intact, digest, evidence)


class CheckpointFetcher:
    """Downloads checkpoints. If a checkpoint cannot be used, the reason is logged once."""

    def __init__(self, bucket: Bucket, grant: Grant, known: History, folder: Path) -> None:
        self._bucket = bucket
        self._grant = grant
        self._known = known
        self._folder = folder
        self._states: dict[str, CheckpointState | None] = {}

    def file(self, name: str) -> Path:
        """Return the path to which an object is downloaded."""
        return self._folder / name.replace("/", "-")

    def read(self, name: str) -> CheckpointState | None:
        """Download an object and return its state; None if it is missing or damaged."""
        file = self.file(name)
        try:
            self._bucket.download(name, file)
            if name == self._grant.checkpoint and self._grant.sha256 not in (None, sha256(file)):
                raise DamagedCheckpointError("its SHA-256 differs from the reported one")
            return read_progress(file)
        except ObjectNotFoundError:
            self._warn(name, "it is missing")
        except NewerFormatError as error:
            raise NewerFormatError(f"the saved model {name} {error}") from None
        except DamagedCheckpointError as error:
            self._warn(name, str(error))
        return None

    def progress(self, candidate: _Object) -> CheckpointState | None:
        """Download a checkpoint of this trial and return its state; None if it cannot be used."""
        if candidate.name not in self._states:
            self._states[candidate.name] = self._progress(candidate)
        return self._states[candidate.name]

    def _progress(self, candidate: _Object) -> CheckpointState | None:
        progress = self.read(candidate.name)
        if progress is None:
            return None
        if progress.epoch != candidate.epoch or progress.epoch not in progress.history:
            self._warn(candidate.name, "it belongs to another epoch")
            return None
        if not _agree(self._known, progress.history):
            # two attempts on a GPU may differ in the last bits, but a trial has only one curve: the reported one
            self._warn(candidate.name, "its metrics differ from the reported ones")
            return None
        return progress

    def _warn(self, name: str, why: str) -> None:
        log.warning("trial %s: the checkpoint %s is not used because %s", self._grant.trial_id, name, why)


def _agree(known: History, history: History) -> bool:
    """Return whether two histories have the same metrics for the epochs that both have."""
    return all(same_metrics(known[epoch], history[epoch]) for epoch in known.keys() & history.keys())
