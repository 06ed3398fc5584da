"""Observes what a script does after its search: the numbers of `model.evaluate`, and what it prints."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import keras

from tuner.scripts.entry_points import set_for_now

PRINTED_CHARACTERS = 200_000
"""Maximum length of the printed text that is kept."""
_PROGRESS = re.compile(r"[^\n]*[\r\x08](?=[^\n])")
"""The part of a line that later output has overwritten, as progress bars do."""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\r\x08]")


class _Copy(io.StringIO):
    """Keeps a copy of the text that is written to it, and writes it to standard error."""

    def write(self, text: str) -> int:
        """Write the text, of which no more than `PRINTED_CHARACTERS` in all are kept."""
        sys.stderr.write(text)
        super().write(text[: max(0, PRINTED_CHARACTERS - self.tell())])
        return len(text)

    def flush(self) -> None:
        """Write what standard error still holds."""
        sys.stderr.flush()


@dataclass
class Observed:
    """What a script did after its search."""

    evaluations: list[dict[str, float]] = field(default_factory=list)
    copy: _Copy = field(default_factory=_Copy)
    """What it printed, unchanged."""

    @property
    def printed(self) -> str:
        """What the script printed, without overwritten progress bars and colours."""
        return _ESCAPES.sub("", _PROGRESS.sub("", self.copy.getvalue())).strip("\n")


@contextmanager
def observing(observed: Observed) -> Iterator[None]:
    """Record evaluations and printed text for the duration of the block. Text is printed on standard error instead."""
    evaluate = keras.Model.evaluate

    def recording(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        result = evaluate(self, *args, **kwargs)
        if "_use_cached_eval_dataset" not in kwargs:  # `fit` passes it in the evaluation after each epoch
            metrics = keras.tree.flatten_with_path(self.get_metrics_result())
            observed.evaluations.append({"/".join(map(str, path)): float(value) for path, value in metrics})
        return result

    with set_for_now(keras.Model, "evaluate", recording), redirect_stdout(observed.copy):
        yield
