"""Limits of the system (`ulimit`) that are too low for Keras. Libraries would otherwise abort, or fail repeatedly."""

import resource

from tuner.errors import EnvironmentFailure

ADDRESS_BYTES = 3 * 1024**3 // 2
"""Minimum address space. A process that trains a small model has 1.8 GiB with JAX and 2.4 GiB with TensorFlow."""
OPEN_FILES = 20
"""Minimum number of open files. A run with JAX and one worker succeeds with 20."""
WANTED_OPEN_FILES = 4096


def check_limits() -> None:
    """Raise the limit on open files as far as allowed, and raise EnvironmentFailure if a limit is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < WANTED_OPEN_FILES:
        soft = WANTED_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < OPEN_FILES:
            raise EnvironmentFailure(
                f"the limit on open files is {soft}, and at least {OPEN_FILES} are needed. Raise it, for example with "
                "`ulimit -n 1024`."
            )
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY and addresses < ADDRESS_BYTES:
        raise EnvironmentFailure(
            f"the limit on address space is {addresses / 1024**2:,.0f} MiB, and Keras needs at least "
            f"{ADDRESS_BYTES / 1024**2:,.0f} MiB, most of which is not memory. Remove it with `ulimit -v unlimited`."
        )
