"""The entry point: the command `cifake-tune`, `python -m cifake_tune`, and `from cifake_tune import open_study`.

A user's own modules may also be called `tuner` or `k8s`, and be first on Python's path: through PYTHONPATH, or because
they are in the working directory (`python -m`, `python -c`). So all processes start here, where this program's packages
are imported from the folder of this file. Later imports of their modules search only the folders of the packages.

In a process of the user, which reads a study, the user's own modules keep these names. This program's packages have
them only while it executes.
"""

import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from tuner.api.study_results import StudyResults
    from tuner.errors import CifakeTuneError

PACKAGES = ("tuner", "k8s")
__all__ = ["CifakeTuneError", "StudyResults", "main", "open_study"]

_own: dict[str, ModuleType] = {}
"""This program's modules, if the user has modules with the names of its packages."""
_hidden: dict[str, ModuleType] = {}
"""Modules of the user that have these names, while this program's packages have them."""
_lock = threading.RLock()
_depth = 0
"""How often the thread that holds the lock has entered `_importing`."""


def _import_packages() -> None:
    """Import the packages beside this file, whatever else has their names.

    Python's path is changed only for this moment. The folder is often site-packages, whose modules must not hide those
    of the standard library.
    """
    folder = _folder()
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None and not _is_in(folder, module):  # of a user's script, or of a `sitecustomize`
            _hidden.update(_taken(name))
    sys.path.insert(0, folder)
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def _folder() -> str:
    return os.path.dirname(os.path.abspath(__file__))


def _is_in(folder: str, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and os.path.dirname(os.path.dirname(os.path.abspath(file))) == folder


def _taken(*packages: str) -> dict[str, ModuleType]:
    """Remove the packages and their modules from the loaded modules, and return them."""
    loaded = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in loaded}


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.disable()  # what is imported stays: looking for garbage in it takes a fifth of the time
    from tuner.cli import app

    gc.freeze()
    gc.enable()
    app.main()


# ---- in a process of the user -------------------------------------------------------------------
def _open_study(bucket: "str | os.PathLike[str]", name: str | None = None) -> "StudyResults":
    """Open a study, also while it runs, to read its results.

    Args:
        bucket: The bucket: a folder, or a URL such as `gs://bucket/prefix`.
        name: Name of the study. Optional if the bucket has only one study.

    Raises:
        CifakeTuneError: The bucket cannot be read, or has no such study. The message says what to do.
    """
    with _importing():
        from tuner.api import study_results

        return study_results.open_study(bucket, name, importing=_importing)


_open_study.__name__ = _open_study.__qualname__ = "open_study"
if TYPE_CHECKING:
    open_study = _open_study


def __getattr__(name: str) -> Any:
    """Return what is imported by name in a process of the user, whose modules get their names back."""
    if name not in ("CifakeTuneError", "StudyResults", "open_study"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _lock:
        if not _own:
            _give_names_back()
    if name == "open_study":
        return _open_study
    with _importing():
        if name == "StudyResults":
            from tuner.api.study_results import StudyResults

            return StudyResults
        from tuner.errors import CifakeTuneError

        return CifakeTuneError


def _give_names_back() -> None:
    """Let `tuner` and `k8s` be the user's modules, if the user has any."""
    if any(name in _hidden or _is_elsewhere(name) for name in PACKAGES):
        _own.update(_taken(*PACKAGES))
        sys.modules.update(_hidden)
        _hidden.clear()


def _is_elsewhere(name: str) -> bool:
    """Return whether `import` would find a module of this name that is not this program's."""
    spec = PathFinder.find_spec(name)
    if spec is None or spec.origin is None:  # a folder without code, such as one of results, is not meant
        return False
    return not os.path.abspath(spec.origin).startswith(os.path.join(_folder(), name) + os.sep)


@contextmanager
def _importing() -> Iterator[None]:
    """Let `tuner` and `k8s` be this program's packages, and afterwards what they were before."""
    global _depth  # noqa: PLW0603
    if not _own:  # they always are
        yield
        return
    with _lock:
        if not _depth:
            _hidden.update(_taken(*PACKAGES))
            sys.modules.update(_own)
        _depth += 1
        try:
            yield
        finally:
            _depth -= 1
            if not _depth:
                _own.update(_taken(*PACKAGES))
                sys.modules.update(_hidden)
                _hidden.clear()


_import_packages()  # not in `main`, so that also a process of a pool, which only imports this module, has the packages

if __name__ == "__main__":
    main()
