"""Time that a study has used: hours during which a chief was serving, and the leased time of its trials.

Both are computed from `served_s` of the records, which is the monotonic time since the chief of a term began to serve.
So neither depends on the wall clock, and time without a chief does not count. Records of earlier versions have no
`served_s`, so the time that they cover does not count either. The hours that a search may take do not include the time
for which a user has paused it. Leased time includes that of trials which finish their epoch then.
"""

from dataclasses import dataclass, field


@dataclass
class ServedTime:
    """Time of all terms so far, up to the newest record. All numbers are in seconds, except `leases`."""

    served_s: float = 0.0
    """Time during which a chief was serving."""
    paused_s: float = 0.0
    """Part of `served_s` during which the search was paused."""
    leased_s: float = 0.0
    """Sum over all leases of the time during which they were held."""
    idle_s: float = 0.0
    """Sum over all workers of the time during which they had joined but held no lease."""
    leases: int = 0
    """Number of trials that are leased."""
    is_paused: bool = False
    """Whether the search is paused."""
    paused_before_s: float = 0.0
    """`paused_s` before this term."""
    term_s: float = 0.0
    """`served_s` of the newest record of this term."""
    term_idle_s: float = 0.0
    """`idle_s` of the newest record of this term that has it."""

    @property
    def searched_s(self) -> float:
        """Time during which a chief was serving a search that was not paused."""
        return self.served_s - self.paused_s

    def open_term(self) -> None:
        """Begin the term of another chief."""
        self.term_s = self.term_idle_s = 0.0
        self.paused_before_s = self.paused_s

    def advance(self, term_s: float | None, idle_s: float | None = None) -> None:
        """Count the time until a record with these values of `served_s` and `idle_s`."""
        if term_s is not None and term_s > self.term_s:
            passed_s, self.term_s = term_s - self.term_s, term_s
            self.served_s += passed_s
            self.leased_s += passed_s * self.leases
            self.paused_s += passed_s * self.is_paused
        if idle_s is not None and idle_s > self.term_idle_s:
            self.idle_s += idle_s - self.term_idle_s
            self.term_idle_s = idle_s


@dataclass
class WorkTime:
    """Leased time of one trial, in seconds. Times that are passed to methods are ServedTime.served_s."""

    epochs: dict[int, float] = field(default_factory=dict)
    """Time of each epoch that counts. Empty once the trial has ended."""
    first: list[int] = field(default_factory=list)
    """Those of these epochs that were the first of a lease, so that their time includes the start of the attempt."""
    interrupted_s: float = 0.0
    """When the newest lease ended although the trial continues later."""
    is_starting: bool = False
    """Whether the trial is leased and this lease has not reported an epoch."""
    ended_s: float = 0.0
    """Time of all epochs that count, once the trial has ended."""
    repeated_s: float = 0.0
    """Time of epochs that were trained again, and of attempts that ended within an epoch."""
    since: float | None = None
    """Beginning of the current epoch; None if the trial is not leased."""

    def begin(self, served_s: float) -> None:
        """Begin a lease."""
        self.since, self.is_starting = served_s, True

    def report(self, epoch: int, served_s: float) -> None:
        """End an epoch. Earlier reports of this and of later epochs no longer count."""
        self.drop(epoch)
        self.epochs[epoch] = self.current_s(served_s)
        self.first += [epoch] if self.is_starting else []
        self.since, self.is_starting = served_s, False

    def drop(self, first: int) -> None:
        """Count the epochs from number `first` on as repeated, because they are trained again."""
        for epoch in [epoch for epoch in self.epochs if epoch >= first]:
            self.repeated_s += self.epochs.pop(epoch)
        self.first = [epoch for epoch in self.first if epoch < first]

    def interrupt(self, served_s: float) -> None:
        """End a lease of a trial that continues later."""
        self.repeated_s += self.current_s(served_s)
        self.since, self.is_starting, self.interrupted_s = None, False, served_s

    def end(self, served_s: float) -> None:
        """End the trial, and its lease if it has one."""
        self.ended_s = sum(self.epochs.values()) + self.current_s(served_s)
        self.epochs, self.first, self.since, self.is_starting = {}, [], None, False

    def restart(self) -> None:
        """Begin a trial that has ended from its first epoch again."""
        self.repeated_s += self.ended_s
        self.ended_s = 0.0

    def current_s(self, served_s: float) -> float:
        """Return the time since the newest epoch of the current lease; 0 if the trial is not leased."""
        return 0.0 if self.since is None else served_s - self.since

    def counted_s(self, served_s: float) -> float:
        """Return the time of all epochs that count, with the current epoch."""
        return self.ended_s + sum(self.epochs.values()) + self.current_s(served_s)

    def total_s(self, served_s: float) -> float:
        """Return the time of all leases of the trial."""
        return self.counted_s(served_s) + self.repeated_s
