"""How long a worker that cannot join its chief tries again, although a user must fix what prevents it.

For a moment, the worker's address may lead to another chief, for example if the cluster uses an address again, or to a
chief of an earlier version that an upgrade is about to replace.
"""

from tuner.errors import CifakeTuneError, ConfigError, IncompatibleVersionError

MISCONFIGURED_S = 30.0
"""Seconds for which a worker must find its settings or the chief's version wrong before it ends."""


class JoinProblem:
    """What prevents a worker from joining, and since when its settings have been wrong."""

    def __init__(self) -> None:
        self._misconfigured_since: float | None = None

    def lasting(self, problem: CifakeTuneError | None, now: float, deadline: float) -> CifakeTuneError | None:
        """Return the problem that a call has found at `now`, if it has lasted for too long.

        That is MISCONFIGURED_S for a ConfigError or an IncompatibleVersionError, and until the deadline for any other
        error.
        """
        is_misconfigured = isinstance(problem, ConfigError | IncompatibleVersionError)
        self._misconfigured_since = (self._misconfigured_since or now) if is_misconfigured else None
        since = self._misconfigured_since
        is_lasting = now > deadline or (since is not None and now - since > MISCONFIGURED_S)
        return problem if is_lasting else None
