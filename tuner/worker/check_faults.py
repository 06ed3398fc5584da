"""What an error means that occurs while the saved model of an epoch is checked beside the model in training."""

from collections.abc import Iterator
from contextlib import contextmanager

from tuner.errors import SpaceError
from tuner.spaces.error_cause import cause_of
from tuner.spaces.out_of_memory import out_of_memory
from tuner.training.faults import SharedFaultError


@contextmanager
def check_faults() -> Iterator[None]:
    """Raise SharedFaultError instead of a SpaceError, and MemoryError if memory was exhausted.

    The model is not broken if memory was exhausted, because the check needs memory for a second copy of it.
    """
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise MemoryError(
                "the check of the saved model ran out of memory beside the trained model, because it loads the model a "
                "second time. Train smaller models or batches, or give the workers more memory. The error was: "
                f"{cause_of(_innermost(error))}"
            ) from error
        if isinstance(error, SpaceError):
            raise SharedFaultError(str(error)) from None
        raise


def _innermost(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _innermost(error.__cause__)
