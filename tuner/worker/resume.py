"""Where an attempt begins: at the newest intact checkpoint that the bucket has of its trial, reported or not.

The attempt before may have trained on while the chief was away, and died before it could report: what it made durable
is taken over (`ResumePoint.found`), and no epoch is trained twice. If the newest checkpoint is damaged or gone, an
older one is taken; the best epoch's is kept, too.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuner import names
from tuner.bucket import Bucket
from tuner.errors import ObjectNotFoundError
from tuner.study.state import same_metrics
from tuner.training.checkpoint import CheckpointState, DamagedCheckpointError, read_progress, sha256
from tuner.worker.chief_client import Grant
from tuner.worker.epoch_reporter import Epoch

log = logging.getLogger(__name__)

History = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class ResumePoint:
    """What an attempt goes on from; by default, from nothing."""

    first_epoch: int = 0
    file: Path | None = None
    """The checkpoint after the epoch before."""
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    """Metrics of the trial's epochs before `first_epoch`."""
    found: tuple[Epoch, ...] = ()
    """Epochs of these that the chief does not know."""
    objects: Mapping[str, int] = field(default_factory=dict)
    """All checkpoints that older attempts left in the bucket, with their epochs."""


@dataclass(frozen=True)
class _Object:
    name: str
    attempt: int
    epoch: int


def find_resume_point(bucket: Bucket, study: str, grant: Grant, known: History, folder: Path) -> ResumePoint:
    """Return where to begin; the checkpoint is downloaded into `folder`.

    `known` has the metrics that the chief knows of the epochs before `grant.first_epoch`. Raises BucketError.
    """
    if grant.attempt == 1 and grant.checkpoint is None:
        return ResumePoint()
    fetcher = CheckpointFetcher(bucket, grant, known, folder)
    objects = list(_objects(bucket, study, grant)) if grant.attempt > 1 else []
    # of the same epoch the reported one first: it is the chief's word against an upload of nobody's
    newest_first = sorted(objects, key=lambda o: (o.epoch, o.name == grant.checkpoint, o.attempt), reverse=True)
    epochs = {each.name: each.epoch for each in objects}
    for candidate in newest_first:
        progress = fetcher.progress(candidate)
        if progress is not None:
            return ResumePoint(
                first_epoch=candidate.epoch + 1,
                file=fetcher.file(candidate.name),
                history=dict(progress.history),
                found=tuple(_missing(fetcher, newest_first, candidate, progress, grant)),
                objects=epochs,
            )
    other_trials = grant.checkpoint if grant.checkpoint not in epochs else None  # hyperband trains it further
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
    """Yield the epochs after those that the chief knows, each with its own object where that is intact."""
    for epoch in sorted(epoch for epoch in progress.history if epoch >= grant.first_epoch):
        of_epoch = [newest] if epoch == newest.epoch else [each for each in objects if each.epoch == epoch]
        intact = next((each.name for each in of_epoch if fetcher.progress(each) is not None), None)
        digest = None if intact is None else sha256(fetcher.file(intact))
        yield Epoch(epoch, progress.history[epoch], intact, digest)


class CheckpointFetcher:
    """Downloads checkpoints, and says of each once what is wrong with it."""

    def __init__(self, bucket: Bucket, grant: Grant, known: History, folder: Path) -> None:
        self._bucket = bucket
        self._grant = grant
        self._known = known
        self._folder = folder
        self._seen: dict[str, CheckpointState | None] = {}

    def file(self, name: str) -> Path:
        """Where an object is, once it was fetched."""
        return self._folder / name.replace("/", "-")

    def read(self, name: str) -> CheckpointState | None:
        """Download an object and return its progress; None where it is gone or damaged."""
        file = self.file(name)
        try:
            self._bucket.download(name, file)
            if name == self._grant.checkpoint and self._grant.sha256 not in (None, sha256(file)):
                raise DamagedCheckpointError("its SHA-256 is not the reported one")
            return read_progress(file)
        except ObjectNotFoundError:
            self._warn(name, "it is gone")
        except DamagedCheckpointError as error:
            self._warn(name, str(error))
        return None

    def progress(self, candidate: _Object) -> CheckpointState | None:
        """Download an object of our own trial, and return its progress; None where it cannot be used."""
        if candidate.name not in self._seen:
            self._seen[candidate.name] = self._progress(candidate)
        return self._seen[candidate.name]

    def _progress(self, candidate: _Object) -> CheckpointState | None:
        progress = self.read(candidate.name)
        if progress is None:
            return None
        if progress.epoch != candidate.epoch or progress.epoch not in progress.history:
            self._warn(candidate.name, "it is the model of another epoch")
            return None
        if not _agree(self._known, progress.history):
            # on a GPU two attempts may differ in the last bits: one trial has one curve, the reported one
            self._warn(candidate.name, "its metrics are not the reported ones")
            return None
        return progress

    def _warn(self, name: str, why: str) -> None:
        log.warning("trial %s: the saved model %s is not used, %s", self._grant.trial_id, name, why)


def _agree(known: History, history: History) -> bool:
    """Say whether two histories have the same metrics for the epochs that both have."""
    return all(same_metrics(known[epoch], history[epoch]) for epoch in known.keys() & history.keys())
