"""Studies whose search took given worker-hours, as journals in a bucket."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner import names
from tuner.bucket import Bucket
from tuner.config.loading import load
from tuner.study import journal
from tuner.study.records import Created, Ended, Finished, Leased, Opened, Record, Reported, Served, TrialState

HOUR_S = 3600.0


@dataclass(frozen=True)
class Trained:
    """A trial of one epoch."""

    hours: float
    value: float


def write_search(
    bucket: Bucket, study: str, trials: Sequence[Trained], idle_hours: float = 0.0, ended_at: float = 1e6,
    finished: bool = True, data: str = "0" * 64, settings: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write a search of one worker, which trains the trials one after the other and then waits for `idle_hours`."""
    chosen = load(settings=[f"name={study}", *settings])
    direction = "min" if chosen.search.objective == "val_loss" else "max"
    records: list[Record] = [Opened(at=1, term=1, writer="w", study=chosen, data=data, direction=direction)]
    served = 0.0
    for number, trained in enumerate(trials):
        trial, metrics = names.TrialId(f"{number:05d}"), {chosen.search.objective: trained.value}
        start, served = served, served + trained.hours * HOUR_S
        checkpoint = names.checkpoint(study, trial, 1, 0)
        bucket.write(checkpoint, b"model" * 20)
        records += [
            Created(at=2, served_s=start, trial=trial, hyperparameters={"units": number}, algorithm={}),
            Leased(at=2, served_s=start, trial=trial, attempt=1, worker="w0", incarnation="i"),
            Reported(
                at=3, served_s=served, trial=trial, attempt=1, epoch=0, metrics=metrics, checkpoint=checkpoint
            ),
            Ended(
                at=4, served_s=served, trial=trial, attempt=1, state=TrialState.COMPLETED, score=trained.value,
                best_epoch=0,
            ),
        ]  # fmt: skip
    idle_s = idle_hours * HOUR_S
    records += [Served(at=ended_at, served_s=served + idle_s, idle_s=idle_s)]
    if finished:
        records += [Finished(at=ended_at, served_s=served + idle_s, idle_s=idle_s, reason="all trials are done")]
    bucket.create(names.journal_segment(study, 1), journal.encode(1, "w", records))
