"""Imports a user's own modules, also those that have the name of one of this program's modules, such as `tuner.py`.

The folder of the user's code is added to Python's path, so most modules are imported as in any program. A module whose
name is taken, by this program or for `space.import` by any module imported before, becomes a submodule of a private
package instead, whose path is the user's folder. In the user's modules, and only there, `import tuner` then means the
user's own.
"""

import builtins
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

PROGRAM = ("cifake_tune", "k8s", "tuner")
"""The top-level modules of this program."""
PROGRAM_FOLDER = Path(__file__).resolve().parents[2]

_PRIVATE = "cifake_tune_space_"
_codes: dict[Path, "_Code"] = {}


def import_from(folder: Path, name: str) -> ModuleType:
    """Import a module of the user's code in `folder` (an absolute path without symbolic links), or an installed one.

    Raises what the import raises.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    if folder not in _codes:
        _codes[folder] = _Code(folder, f"{_PRIVATE}{len(_codes)}")
    return _codes[folder].import_module(name)


def run_as_main(file: Path, arguments: Sequence[str]) -> None:
    """Execute a script of the user (an absolute path without symbolic links) as `python FILE ARGUMENTS` does.

    Raises what the script raises, also SystemExit.
    """
    folder = file.parent
    sys.path.insert(0, str(folder))
    if folder not in _codes:
        _codes[folder] = _Code(folder, f"{_PRIVATE}{len(_codes)}")
    module = ModuleType("__main__")
    module.__file__ = str(file)
    module.__dict__["__builtins__"] = vars(builtins) | {"__import__": _codes[folder].user_import}
    sys.modules["__main__"] = module
    sys.argv = [str(file), *arguments]
    exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102  # as `python FILE` does


def name_in_space(module: str) -> str:
    """Return the name of a module as `space.import` has it."""
    return module.partition(".")[2] if module.startswith(_PRIVATE) else module


class _Code:
    """A folder of user code. Also a finder (`sys.meta_path`), where the folder has names of this program."""

    def __init__(self, folder: Path, package: str) -> None:
        self._folder = folder
        self._package = package
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[package] = importlib.util.module_from_spec(spec)
        self._names = {name for name in PROGRAM if folder != PROGRAM_FOLDER and self._has(name)}
        if self._names:
            sys.meta_path.insert(sys.meta_path.index(PathFinder), self)

    def import_module(self, name: str) -> ModuleType:
        top = name.partition(".")[0]
        return importlib.import_module(f"{self._package}.{name}" if top in self._names or self._is_taken(top) else name)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a source file of the user as Python does, but let it be executed with `user_import`."""
        if name.partition(".")[0] in PROGRAM:
            return None
        place = os.path.join(self._folder, *name.removeprefix(f"{self._package}.").split("."))
        files = f"{place}.py", os.path.join(place, "__init__.py")
        if not any(map(os.path.isfile, files)):
            return None  # an installed module, also where the virtual environment is in the user's folder
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin in files:
            spec.loader = _Loader(name, spec.origin, self)
        return spec

    def user_import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # the names of `__import__`
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as the statement `import` of a user's module does."""
        top = name.partition(".")[0]
        if level or top not in self._names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{self._package}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{self._package}.{top}"]

    def _has(self, name: str) -> bool:
        spec = PathFinder.find_spec(name, [str(self._folder)])
        # a folder without code, such as one of results, is not meant by an import
        return spec is not None and (spec.loader is not None or any((self._folder / name).glob("**/*.py")))

    def _is_taken(self, name: str) -> bool:
        """Return whether an import of the name would give a module from elsewhere that was imported before."""
        loaded, spec = sys.modules.get(name), PathFinder.find_spec(name, [str(self._folder)])
        if loaded is None or spec is None or spec.origin is None or name in PROGRAM:
            return False
        return os.path.realpath(getattr(loaded, "__file__", None) or "") != os.path.realpath(spec.origin)


class _Loader(SourceFileLoader):
    """Executes a user's module with another `__import__`, which Python looks up among the builtins of the module."""

    def __init__(self, name: str, path: str, code: _Code) -> None:
        super().__init__(name, path)
        self._code = code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": self._code.user_import}
        super().exec_module(module)
