"""How fast a search proceeds, as far as its journal shows: the number of its workers, and seconds per epoch."""

from collections.abc import Sequence

from tuner.study.state import StudyState
from tuner.study.trial import Trial


class Capacity:
    """The workers of a search. Everything depends on the journal's time, up to its newest record."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._workers, self._counted_at = 1, 0.0
        """Number of workers, and when it was counted."""
        self.slowest_s = 0.0
        """Seconds per epoch of the slowest trial, with the start of an attempt."""
        for trial in state.trials.values():
            self.observe(trial)

    def observe(self, trial: Trial) -> None:
        """Register the duration of a trial's epochs, after it has reported one."""
        self.slowest_s = max(self.slowest_s, (epoch_s(trial) or 0.0) + (trial.start_s or 0.0))

    def count_workers(self) -> int:
        """Return the number of workers: the most that had a trial at the same time since an epoch ago.

        Some may be between two trials now.
        """
        time = self._state.time
        if time.leases >= self._workers or time.served_s - self._counted_at > self.slowest_s:
            self._workers, self._counted_at = max(1, time.leases), time.served_s
        return self._workers


def makespan_s(needs_s: Sequence[float], workers: int) -> float:
    """Return the time in which this number of workers completes trainings of these durations, at the latest.

    With fewer workers than trainings, it is Graham's bound for list scheduling, which is exact for a single worker.
    """
    if len(needs_s) <= workers:
        return max(needs_s, default=0.0)
    longest_s = max(needs_s)
    return (sum(needs_s) - longest_s) / workers + longest_s


def epoch_s(trial: Trial) -> float | None:
    """Return the average seconds per epoch of a trial, without the start of its attempts; None if it is not known.

    That of a trial that has ended is not known (WorkTime.epochs); see `mean_epoch_s`.
    """
    epochs = trial.work.epochs
    if not epochs:
        return None
    measured_s = sum(epochs.values())
    training_s = measured_s - len(trial.work.first) * (trial.start_s or 0.0)
    return (training_s if training_s > 0 else measured_s) / len(epochs)


def mean_epoch_s(trial: Trial) -> float | None:
    """Return the seconds per epoch of a trial that may have ended, with the starts of its attempts."""
    if trial.ended is None:
        return epoch_s(trial)
    return trial.work.ended_s / len(trial.epochs) if trial.work.ended_s and trial.epochs else None
