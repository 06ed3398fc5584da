"""A study whose journal grows as a test wants."""

from pathlib import Path
from typing import Any

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.config.loading import load
from tuner.study import journal
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Record, Reported, TrialState


class GrowingStudy:
    """A study in a bucket of its own, in which one worker trains."""

    def __init__(self, folder: Path, name: str, writer: str = "") -> None:
        self.name = name
        self.bucket = LocalBucket(folder / name)
        self.epochs = 0
        """Number of reports."""
        self._segments = 0
        self._writer = writer or name
        self.write(self.opened(1))

    def opened(self, term: int) -> Opened:
        study = load(settings=[f"name={self.name}"])
        return Opened(at=1, term=term, writer=f"{self._writer}{term}", study=study, data="0" * 64, direction="max")

    def write(self, *more: Record) -> None:
        self._segments += 1
        name = names.journal_segment(self.name, self._segments)
        self.bucket.create(name, journal.encode(self._segments, "w", more))

    def start(self, number: int, **hyperparameters: Any) -> names.TrialId:
        trial = names.TrialId(f"{number:05d}")
        self.write(
            Created(at=2, trial=trial, hyperparameters=hyperparameters, algorithm={}),
            Leased(at=3, trial=trial, attempt=1, worker="w0", incarnation="i"),
        )
        return trial

    def report(self, trial: names.TrialId, epoch: int, attempt: int = 1, **metrics: float) -> None:
        self.epochs += 1
        at = 10 + epoch + 100 * attempt
        checkpoint = names.checkpoint(self.name, trial, attempt, epoch)
        self.write(Reported(at=at, trial=trial, attempt=attempt, epoch=epoch, metrics=metrics, checkpoint=checkpoint))

    def complete(self, trial: names.TrialId, score: float, best_epoch: int, attempt: int = 1) -> None:
        state = TrialState.COMPLETED
        at = 50 + 100 * attempt
        self.write(Ended(at=at, trial=trial, attempt=attempt, state=state, score=score, best_epoch=best_epoch))

    def finish(self, failed: bool = False) -> None:
        self.write(Finished(at=1000, reason="all trials are done", failed=failed))


def searched(folder: Path, name: str, writer: str = "") -> GrowingStudy:
    """Return a finished study of two trials."""
    study = GrowingStudy(folder, name, writer)
    for number, score in ((0, 0.9), (1, 0.8)):
        trial = study.start(number, units=8 * number)
        study.report(trial, 0, val_accuracy=score - 0.1)
        study.report(trial, 1, val_accuracy=score)
        study.complete(trial, score, best_epoch=1)
    study.finish()
    return study
