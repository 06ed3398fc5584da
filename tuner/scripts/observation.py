"""Observes what a script does after its search: the numbers of `model.evaluate`, and what it prints."""

import inspect
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import keras

from tuner.scripts.entry_points import set_for_now
from tuner.training.fit_result import scalars

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
    signature = inspect.signature(evaluate)

    def recording(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        if "_use_cached_eval_dataset" in kwargs:  # `fit` passes it in the evaluation after each epoch
            return evaluate(self, *args, **kwargs)
        call = signature.bind(self, *args, **kwargs)
        returns_dict = call.arguments.get("return_dict", False)
        call.arguments["return_dict"] = True
        result = evaluate(*call.args, **call.kwargs)
        observed.evaluations.append({name: float(value) for name, value in scalars(result).items()})
        return result if returns_dict else self._flatten_metrics_in_order(result)

    with set_for_now(keras.Model, "evaluate", recording), redirect_stdout(observed.copy):
        yield
