"""The entry point: the command `cifake-tune`, and `python -m cifake_tune`.

A user's own modules may also be called `tuner` or `k8s`, and be first on Python's path: through PYTHONPATH, or because
they are in the working directory (`python -m`, `python -c`). So all processes start here, where this program's packages
are imported from the folder of this file. Later imports of their modules search only the folders of the packages.
"""

import gc
import importlib
import os
import sys
from types import ModuleType
from typing import NoReturn

PACKAGES = ("tuner", "k8s")


def _import_packages() -> None:
    """Import the packages beside this file, whatever else has their names.

    Python's path is changed only for this moment. The folder is often site-packages, whose modules must not hide those
    of the standard library.
    """
    folder = os.path.dirname(os.path.abspath(__file__))
    for name in PACKAGES:
        module = sys.modules.get(name)
        if module is not None and not _is_in(folder, module):  # as a `sitecustomize` may have imported
            for loaded in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
                del sys.modules[loaded]
    sys.path.insert(0, folder)
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def _is_in(folder: str, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and os.path.dirname(os.path.dirname(os.path.abspath(file))) == folder


def main() -> NoReturn:
    """Run the command line and exit."""
    gc.disable()  # what is imported stays: looking for garbage in it takes a fifth of the time
    from tuner.cli import app

    gc.freeze()
    gc.enable()
    app.main()


_import_packages()  # not in `main`, so that also a process of a pool, which only imports this module, has the packages

if __name__ == "__main__":
    main()
