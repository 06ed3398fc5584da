"""Every error that a user or a cluster can cause, with its exit code.

A message is for the person who can fix the problem. It says what is wrong and where, and then what to do.
`tuner.cli.app` prints the message without a traceback and exits with `exit_code`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a process of cifake-tune; schedulers use it to decide whether to retry."""

    DONE = 0
    INTERNAL = 1  # an internal error of cifake-tune; a retry does not help
    USAGE = 2  # wrong usage or configuration; never retried
    ENVIRONMENT = 3  # the bucket or the chief failed; a retry may succeed
    NO_RESULT = 4  # the search ended without a usable trial
    FENCED = 5  # a newer chief, or a newer process of this worker, took over; never retried
    PREEMPTED = 143  # stopped by a signal (128 + SIGTERM) after finished work was saved


class CifakeTuneError(Exception):
    """Base of all errors with a message for the user."""

    exit_code: ExitCode = ExitCode.USAGE


class UsageError(CifakeTuneError):
    """An argument, file or setting is wrong, and only the user can fix it."""


class ConfigError(UsageError):
    """study.yaml, an environment variable or `--set` is wrong."""


class NewerFormatError(UsageError):
    """The major version of a format is newer than the one that this program reads. The message names both versions."""


class IncompatibleVersionError(UsageError):
    """The versions of a chief and a worker differ too much."""


class EmptiedBucketError(UsageError):
    """The bucket has lost the journal of a study that is running in it."""


class DataError(UsageError):
    """The data set cannot be packed or used."""


class SpaceError(UsageError):
    """The search space cannot be loaded or built."""


class ScriptError(UsageError):
    """A Keras Tuner script failed, or does what cannot be distributed."""


class InternalError(CifakeTuneError):
    """An internal error of cifake-tune."""

    exit_code = ExitCode.INTERNAL


class EnvironmentFailure(CifakeTuneError):  # noqa: N818 (EnvironmentError is Python's old name of OSError)
    """The environment failed (bucket, chief, network); a retry may succeed."""

    exit_code = ExitCode.ENVIRONMENT


class BucketError(EnvironmentFailure):
    """The bucket cannot be read or written."""


class BucketFullError(BucketError):
    """The bucket has no space left. Nothing was written."""


class ObjectNotFoundError(BucketError):
    """The bucket has no object with this name."""


class ObjectExistsError(BucketError):
    """An object cannot be created because the bucket already has one with this name."""


class JournalError(EnvironmentFailure):
    """A record of the journal cannot be read. The message names the object."""


class DamagedResultError(BucketError):
    """A file of an evaluation is damaged. The message names the object."""


class ChiefUnreachableError(EnvironmentFailure):
    """The chief did not answer within `leases.chief_timeout_s`."""


class NoResultError(CifakeTuneError):
    """The search ended without a trial that could be evaluated."""

    exit_code = ExitCode.NO_RESULT


class FencedError(CifakeTuneError):
    """A newer chief of the same study, or a newer process of the same worker, has taken over."""

    exit_code = ExitCode.FENCED


class ReleaseFencedError(FencedError):
    """A chief of another release has taken over the study."""


class PreemptedError(CifakeTuneError):
    """The process was asked to stop (SIGTERM, Ctrl-C). All finished work is saved."""

    exit_code = ExitCode.PREEMPTED
