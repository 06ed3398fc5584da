"""Every error that a user or a cluster can cause, with its exit code.

The message is one sentence for the person who can fix it: what was wrong, where, and what to do.
`tuner.cli.app` prints it without a traceback and exits with `exit_code`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a process of cifake-tune ends; schedulers decide by it whether to try again."""

    DONE = 0
    DEFECT = 1  # of cifake-tune itself, or something that it does not expect: trying again will not help
    USAGE = 2  # wrong usage or configuration: never retried
    ENVIRONMENT = 3  # the bucket or the chief failed: worth a retry
    NO_RESULT = 4  # the search ended without a usable trial
    FENCED = 5  # a newer chief, or a newer process of this worker, took over: never retried
    PREEMPTED = 143  # stopped by a signal, after saving: 128 + SIGTERM


class CifakeTuneError(Exception):
    """Base of all errors with a message for the user."""

    exit_code: ExitCode = ExitCode.USAGE


class UsageError(CifakeTuneError):
    """A wrong argument, file or setting, which only the user can mend."""


class ConfigError(UsageError):
    """study.yaml, an environment variable or `--set` is wrong."""


class DataError(UsageError):
    """The data set given is not one that can be packed or used."""


class SpaceError(UsageError):
    """The search space cannot be loaded or built."""


class InternalError(CifakeTuneError):
    """Something is wrong in cifake-tune itself."""

    exit_code = ExitCode.DEFECT


class EnvironmentFailure(CifakeTuneError):  # noqa: N818 (EnvironmentError is Python's old name of OSError)
    """The surroundings failed (bucket, chief, network); a later try may succeed."""

    exit_code = ExitCode.ENVIRONMENT


class BucketError(EnvironmentFailure):
    """The bucket cannot be read or written."""


class ObjectNotFoundError(BucketError):
    """The bucket has no object of that name."""


class ObjectExistsError(BucketError):
    """An object of that name is in the bucket already, and it was to be created."""


class JournalError(EnvironmentFailure):
    """A record of the journal cannot be understood; the message names the object."""


class ChiefUnreachableError(EnvironmentFailure):
    """The chief did not answer for as long as the configuration allows."""


class NoResultError(CifakeTuneError):
    """The search ended without a trial that could be evaluated."""

    exit_code = ExitCode.NO_RESULT


class FencedError(CifakeTuneError):
    """A newer chief of the same study has taken over, or a newer process of the same worker."""

    exit_code = ExitCode.FENCED


class PreemptedError(CifakeTuneError):
    """Asked to stop (SIGTERM, Ctrl-C); everything finished is saved."""

    exit_code = ExitCode.PREEMPTED
