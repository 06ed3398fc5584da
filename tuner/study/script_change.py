"""Whether a study's script has been edited since the study began."""

import hashlib
from pathlib import Path

from tuner.config.space_settings import Space
from tuner.study.state import StudyState


def script_digest(space: Space) -> str:
    """Return the SHA-256 of the script; empty if the study has none, or if the file cannot be read."""
    if space.script is None:
        return ""
    try:
        return hashlib.sha256((Path(space.code or ".") / space.script).read_bytes()).hexdigest()
    except OSError:
        return ""


def change_of_script(state: StudyState, space: Space) -> str:
    """Return a sentence if the script is another one than that with which the study began; else an empty text."""
    digest = script_digest(space)
    if not digest or not state.script_digest or digest == state.script_digest:
        return ""
    return (
        f"{space.script} has changed since the study began; its earlier trials are kept. To start afresh, use --set "
        "name=OTHER."
    )
