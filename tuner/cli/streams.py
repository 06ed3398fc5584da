"""Standard input, output and error of the process, also if they are closed, full, or cannot encode a character."""

import codecs
import contextlib
import io
import os
import sys

from tuner.errors import EnvironmentFailure

_ESCAPED = "cifake-tune.escaped"


class OutputError(EnvironmentFailure):
    """Standard output cannot be written."""


def open_streams() -> None:
    """Replace the standard streams by ones that report failed writes as OutputError, and that encode every character.

    A closed descriptor is opened first, because the next file would take its number, and get the output.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):  # closed output cannot be written
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # gets the smallest free number
    codecs.register_error(_ESCAPED, _escape)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    raw = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=_ESCAPED, line_buffering=os.isatty(1)
    )
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(2, "w", closefd=False)), errors="backslashreplace", line_buffering=True
        )


def close_output() -> OutputError | None:
    """Write what is buffered. Return the error if that fails; the rest is discarded then."""
    problem = None
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OutputError as error:
        problem = error
    except (OSError, ValueError):  # the reader has ended, as in `cifake-tune trials | head`
        pass
    else:
        return None
    discard_output()
    return problem


def discard_output() -> None:
    """Discard everything that is written to standard output from now on, and what is buffered."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(io.FileIO):
    """Standard output, whose errors can be told from those of other files."""

    def write(self, content: "bytes | memoryview", /) -> int | None:  # type: ignore[override]
        try:
            return super().write(content)
        except (BrokenPipeError, BlockingIOError):
            raise
        except OSError as error:
            raise OutputError(
                f"standard output cannot be written ({error.strerror}). Redirect it to a file on a disk with free "
                "space, or to /dev/null."
            ) from error


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Replace a character that the encoding does not have by `\u` and its UTF-16 code units, as JSON does."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = [text[at : at + 2].hex() for at in range(0, len(text), 2)]
    return "".join(rf"\u{unit}" for unit in units), error.end
