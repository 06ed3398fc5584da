"""A listener of a training that does nothing, for tests to derive theirs from."""

from typing import Any


class QuietListener:
    """Lets a training run."""

    def check(self) -> None:
        """Let the training continue."""

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Ignore the progress."""

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: Any, returned: bool = False, named: bool = False
    ) -> None:
        """Ignore an epoch's result."""
