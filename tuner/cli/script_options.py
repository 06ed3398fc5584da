"""The options of `run` for a Keras Tuner script."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tuner.errors import UsageError

ScriptOption = Annotated[
    str | None,
    typer.Option(
        "--script",
        help="Path of a Keras Tuner script, which chief, workers and evaluator run as it is. Its arguments follow "
        "after --.",
    ),
]
TunerOption = Annotated[
    int | None,
    typer.Option("--tuner", min=1, help="Number of the Tuner to search if the script constructs several. Default: 1."),
]
ScriptArguments = Annotated[
    list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Arguments of the script.", show_default=False)
]
_NAME_CHARACTERS = 63


def script_settings(script: str | None, tuner: int | None, arguments: Sequence[str] | None) -> list[str]:
    """Return the settings (`--set`) that the options stand for.

    Raises UsageError if there is no such script, or an option has no effect without one.
    """
    if script is None:
        if arguments:
            raise UsageError(
                f"unexpected argument {arguments[0]!r:.60}. Arguments belong to a script: add --script PATH."
            )
        if tuner is not None:
            raise UsageError("--tuner has no effect without --script. Add --script PATH.")
        return []
    path = Path(script)
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"--script must be the path of a Python file, got {script!r:.200}.")
    return [
        f"space.script={json.dumps(path.name)}",
        f"space.code={json.dumps(str(path.parent.absolute()))}",  # `evaluate` may run in another folder
        f"space.arguments={json.dumps(list(arguments or []))}",
        *([] if tuner is None else [f"space.tuner={tuner}"]),
    ]


def study_name_of(script: str) -> str:
    """Return the name of a script's study if none is set: the name of the file, as far as its characters are valid."""
    stem = re.sub(r"[^a-z0-9]+", "-", Path(script).stem.lower()).strip("-")[:_NAME_CHARACTERS].rstrip("-")
    return stem or "script"
