"""Runs a script in one process: up to `search()`, through it, or past it."""

import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import keras
from keras_tuner.src.engine.base_tuner import BaseTuner
from keras_tuner.src.engine.tuner import Tuner

from tuner.config.space_settings import Space
from tuner.errors import CifakeTuneError, EnvironmentFailure, ScriptError
from tuner.printable import printable
from tuner.scripts.entry_points import replaced
from tuner.spaces.error_cause import cause_of
from tuner.spaces.user_code import run_as_main
from tuner.temporary_files import temporary_folder

log = logging.getLogger(__name__)

REASON_CHARACTERS = 300
"""Maximum length of the line of a script that an error quotes."""
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors of files that a retry does not cure, unlike other errors of the system."""


@dataclass
class ScriptSearch:
    """A call of `search()` in a script: the Tuner, and the arguments with which its models are trained."""

    tuner: Tuner
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    overwrites: bool
    """Whether the script constructs its Tuner with `overwrite=True`."""
    callback: keras.callbacks.Callback = field(default_factory=keras.callbacks.Callback)
    """Takes the place of Keras Tuner's checkpoint callback in the current trial."""
    load_model: Callable[[Any], keras.Model] | None = None
    """Loads the model of a trial; None if the process has no models."""


class _LastLine:
    """Standard error before the search. Its last line says why a script exits, such as because of wrong arguments."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._end = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self._end = (self._end + text)[-2 * REASON_CHARACTERS :]
        return self.stream.write(text)

    def last(self) -> str:
        return next((line.strip() for line in reversed(self._end.split("\n")) if line.strip()), "")


OnSearch = Callable[[ScriptSearch], None]
"""What a role does when the script calls `search()`."""


class _LeaveScript(BaseException):
    """Unwinds the script. A BaseException, so that the script's `except Exception` does not catch it."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error


def script_file(space: Space) -> Path:
    """Return the path of the script. Raises ScriptError if there is no such file."""
    path = Path(space.code or ".") / (space.script or "")
    if not path.is_file():
        raise ScriptError(
            f"the script {path} was not found. Run this command in the folder where the study was started. A chief or "
            "`run` that continues the study may also get another folder (space.code, --script)."
        )
    return path.resolve()


def run_to_search(space: Space, on_search: OnSearch) -> None:
    """Run the script up to its search, call `on_search`, and leave the script.

    Raises ScriptError (the script fails, or searches nothing), EnvironmentFailure (the system failed while the script
    loaded its data) and what `on_search` raises.
    """
    _run(space, _Session(space, on_search, leaves=True))


def run_past_search(space: Space, on_search: OnSearch) -> None:
    """Run the whole script, whose search is replaced by `on_search`, up to the search of another Tuner.

    Raises as `run_to_search` does.
    """
    _run(space, _Session(space, on_search, leaves=False))


def _run(space: Space, session: "_Session") -> None:
    file, main, arguments, path = script_file(space), sys.modules["__main__"], list(sys.argv), list(sys.path)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that what the script prints precedes an error in the log
    try:
        with temporary_folder() as folder, replaced(session), redirect_stderr(cast("TextIO", session.errors)):
            session.folder = Path(folder)
            run_as_main(file, space.arguments)
    except _LeaveScript as left:
        if left.error is not None:
            raise left.error from left.error.__cause__
        return
    except (CifakeTuneError, KeyboardInterrupt):  # raised by a signal's handler, which runs during the script
        raise
    except SystemExit as end:
        if end.code not in (None, 0) or not session.has_searched:
            reason = session.reason() if isinstance(end.code, int) else ""
            raise ScriptError(f"{space.script} exits with {end.code!r} {session.when}{reason}.") from end
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, _ABSENT):
            raise EnvironmentFailure(f"{space.script} fails {session.when} ({cause_of(error)}). Try again.") from error
        raise ScriptError(f"{space.script} fails {session.when}: {cause_of(error)}") from error
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = main, arguments, path
    if not session.has_searched:
        raise ScriptError(f"{space.script} ended without a search: {session.without_search()}.")


class _Session:
    """The Tuners that a script has constructed, and what becomes of their calls."""

    def __init__(self, space: Space, on_search: OnSearch, *, leaves: bool) -> None:
        self.folder = Path()
        self.has_searched = False
        self.errors = _LastLine(sys.stderr)
        self._space = space
        self._on_search = on_search
        self._leaves = leaves
        self._tuners: list[BaseTuner] = []
        self._overwrites: list[bool] = []
        self._search: ScriptSearch | None = None

    @property
    def when(self) -> str:
        """Where in the script an error occurs."""
        return "after search()" if self.has_searched else "before search()"

    def reason(self) -> str:
        """Return the last line that the script printed on standard error before the search, after a colon."""
        line = "" if self.has_searched else printable(self.errors.last())[:REASON_CHARACTERS].rstrip(".")
        return f": {line}" if line else ""

    def without_search(self) -> str:
        """Return why nothing was searched."""
        count, chosen = len(self._tuners), self._space.tuner
        if not count:
            return "it constructs no Keras Tuner"
        if chosen > count:
            return f"it constructs {count} Tuners, and Tuner {chosen} is to be searched (--tuner)"
        return "it does not call search()"

    # ---- called by the replaced entry points --------------------------------------------------------

    def constructs(self, tuner: BaseTuner, overwrite: bool) -> str:
        """Number the Tuner, and return its folder."""
        self._tuners.append(tuner)
        self._overwrites.append(overwrite)
        return str(self.folder / str(len(self._tuners)))

    def search(self, tuner: BaseTuner, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call `on_search` if this is the chosen Tuner. Others are skipped before it, and end the script after it."""
        number = 1 + next(index for index, other in enumerate(self._tuners) if other is tuner)
        if number != self._space.tuner:
            if self.has_searched:
                log.warning("the script ends at the search of Tuner %d, because Tuner %d is searched", number,
                            self._space.tuner)  # fmt: skip
                raise _LeaveScript
            log.warning("the search of Tuner %d is skipped, because Tuner %d is searched", number, self._space.tuner)
            return
        if self.has_searched:
            log.warning("search() is called again, which has no effect")
            return
        if not isinstance(tuner, Tuner) or tuner.hypermodel is None:
            self._refuse(tuner)
        self._check_backend()
        self.has_searched = True
        if sys.stderr is self.errors:
            sys.stderr = self.errors.stream
        self._search = ScriptSearch(tuner, args, kwargs, self._overwrites[number - 1])
        try:
            self._on_search(self._search)
        except Exception as error:
            raise _LeaveScript(error) from error
        if self._leaves:
            raise _LeaveScript

    def load_model(self, tuner: Tuner, trial: Any) -> keras.Model:
        """Load the model of a trial from the bucket."""
        search = self._search
        if search is None or search.load_model is None or tuner is not search.tuner:
            raise ScriptError(f"the models of a Tuner that is not searched cannot be loaded. Searched is Tuner "
                              f"{self._space.tuner} (--tuner).")  # fmt: skip
        return search.load_model(trial)

    def checkpoint_callback(self) -> keras.callbacks.Callback:
        """Return the callback of the current trial."""
        assert self._search is not None  # a trial runs only during a search
        return self._search.callback

    def _check_backend(self) -> None:
        """Leave the script if it has chosen a backend, because Keras is imported before it runs."""
        chosen, backend = os.environ.get("KERAS_BACKEND"), keras.backend.backend()
        if chosen and chosen != backend:
            raise _LeaveScript(
                ScriptError(
                    f"{self._space.script} sets KERAS_BACKEND={chosen}, but cifake-tune runs it with {backend}. Set "
                    "the variable when you start cifake-tune."
                )
            )

    def _refuse(self, tuner: BaseTuner) -> NoReturn:
        what = "trains no Keras models" if not isinstance(tuner, Tuner) else "has no hypermodel that builds its models"
        raise ScriptError(
            f"the Tuner {type(tuner).__name__} {what}, so its trials have no model to save. Use a keras_tuner.Tuner "
            "with a hypermodel, or run the script with Keras Tuner."
        )
