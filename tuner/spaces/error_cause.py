"""The line of an exception that explains it, for the reasons that users read.

Keras wraps the exception of a layer in the layer's name and arguments, printed in bold, and TensorFlow puts a traceback
of its graph before the explanation. A reason shows only its first line, which would then explain nothing.
"""

import os
import re
import traceback

from tuner.spaces.missing_packages import how_to_install, missing_module
from tuner.spaces.user_code import PROGRAM_FOLDER

CHARACTERS = 400
"""Maximum length of the explanation. Keras and JAX may print whole arrays."""

_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_KERAS_CALL = re.compile(
    r"\s*Exception encountered when calling (?P<layer>.+?)\.\n\n(?P<text>.*?)\n\nArguments received by .*", re.DOTALL
)
_IN_USER_CODE = re.compile(r"^\s{4}(?P<text>\w*(Error|Exception|Interrupt|Warning): .*)", re.MULTILINE)
_GRAPH = "Graph execution error:"
_GRAPH_NOISE = re.compile(
    r"\s*$|Graph execution error:|Detected at node .*|<stack traces unavailable>|\s+File \".*|\s{4}\S.*"
    r"|\s*\[\[.*|\s*\[Op:.*|\d+ root error\(s\) found\.|Original stack trace for .*|Traceback .*"
)
_ROOT_ERROR = re.compile(r"\s*\(\d+\)\s+[A-Z_]+:\s*")
_OPERATION = re.compile(r"\s*\[(Op:|\[\{\{node ).*$")
_CODE = re.compile(r"^(INVALID_ARGUMENT|INTERNAL|NOT_FOUND|UNIMPLEMENTED|FAILED_PRECONDITION): ")

_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}", f"{os.sep}lib{os.sep}python")

LABELS = (
    "The labels are integers from 0, one per image, not one-hot: use the loss sparse_categorical_crossentropy instead "
    "of categorical_crossentropy with Dense(classes, activation='softmax'), and sparse variants of metrics, or "
    "binary_crossentropy with Dense(1, activation='sigmoid')."
)
OWN_LABELS = "The labels are those that the space's data() returns: return them in the form that the loss takes."
"""What replaces LABELS if the space brings its own data."""
NOT_COMPILED = "build() must return a compiled model: call model.compile(optimizer, loss, metrics=['accuracy'])."
_ADVICE = (
    (re.compile(r"Arguments `target` and `output` must have the same (shape|rank)"), LABELS),
    # of labels and outputs; arrays with more dimensions are those of layers
    (re.compile(r"Shapes \(\w+,( ?\w+)?\) and \(\w+,( ?\w+)?\) are incompatible"), LABELS),
    (re.compile(r"must call `compile\(\)`"), NOT_COMPILED),
)
"""What to do about errors that every trial of a study would have, by their text."""


def plain(text: str) -> str:
    """Return text without the escape sequences of terminals."""
    return _ANSI.sub("", text)


def explanation(error: BaseException) -> str:
    """Return the one line of an exception's message that explains it, without its wrappers; empty if there is none."""
    return _unwrapped(plain(str(error)))[0]


def cause_of(error: BaseException) -> str:
    """Return an exception as one line: its type, its explanation, and where in the user's code it was raised.

    For example `ValueError: the pixels must be scaled [my_space.py:14, Picky.call()]`. If the exception means a missing
    package or wrong labels, a sentence follows that says what to do.
    """
    text, layer = _unwrapped(plain(str(error)))
    places = [place for place in (_place(error), layer) if place]
    where = f" [{', '.join(places)}]" if places else ""
    line = f"{type(error).__name__}: {text or 'no message'}{where}"
    advice = advice_on(error)
    return f"{line}. {advice}" if advice else line


def advice_on(error: BaseException) -> str:
    """Return what to do about an error that every trial would have; empty if it may concern one trial only."""
    if missing := missing_module(error):
        return how_to_install(missing)
    text = plain(str(error))
    return next((advice for pattern, advice in _ADVICE if pattern.search(text)), "")


def trace_of(error: BaseException) -> str:
    """Return the traceback of an exception without the escape sequences of terminals."""
    return plain("".join(traceback.format_exception(error)))


def _unwrapped(text: str) -> tuple[str, str]:
    """Return the explaining line, and the layer whose call raised it (empty if unknown)."""
    layer = ""
    while match := _KERAS_CALL.fullmatch(text):
        layer, text = match["layer"], match["text"]
    if text.startswith("in user code:") and (raised := _IN_USER_CODE.findall(text)):
        text = raised[-1][0]
    lines = text.splitlines()
    if _GRAPH in text or "[[{{node " in text or "[Op:" in text:
        lines = [line for line in lines if not _GRAPH_NOISE.fullmatch(line)] or lines
        lines = [_OPERATION.sub("", _ROOT_ERROR.sub("", line)) for line in lines]
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        return "", layer
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    first = " ".join(_CODE.sub("", first).split())
    return (first if len(first) <= CHARACTERS else f"{first[:CHARACTERS]} …"), layer


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame in the user's code; empty if there is none."""
    own = str(PROGRAM_FOLDER / "tuner") + os.sep
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        name = frame.filename
        installed = any(part in name for part in _INSTALLED)
        if name.startswith("<") or installed or name.startswith(own):
            continue
        return f"{os.path.basename(name)}:{frame.lineno}"
    return ""
