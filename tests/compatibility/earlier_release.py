"""The program of an earlier release, which runs in the environment of this one.

The archive has the sources of the release's commit (CHANGELOG.md), because a clone may be shallow.
"""

import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.integration.support import Command, Done, Place, python_with


@dataclass(frozen=True)
class EarlierRelease:
    """Release 0.1.0."""

    sources: Path
    """Folder with its packages `tuner` and `k8s`."""
    environments: Path
    """Folder for virtual environments."""

    def start(self, place: Place, *arguments: str, **environment: str) -> Command:
        """Start its `cifake-tune` with these arguments."""
        python = self._python(place.backend)
        own = {"PYTHONPATH": str(self.sources), "KERAS_BACKEND": place.backend}
        command = [str(python), "-m", "tuner.cli"]
        return Command(place, arguments, python, {**own, **environment}, command=command)

    def do(self, place: Place, *arguments: str, **environment: str) -> Done:
        """Run its `cifake-tune` to the end."""
        return self.start(place, *arguments, **environment).wait()

    def evaluate(self, code: str, backend: str = "tensorflow") -> str:
        """Return what Python code prints in its environment."""
        environment = {"PYTHONPATH": str(self.sources), "PATH": os.environ["PATH"], "KERAS_BACKEND": backend}
        command = [str(self._python(backend)), "-P", "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def _python(self, backend: str) -> Path:
        """Return an interpreter with the libraries of the tests' own, and without this version's `cifake-tune`.

        Release 0.1.0 starts its child processes with the `cifake-tune` beside the interpreter, if there is one.
        """
        own = python_with(backend)
        folder = self.environments / backend
        python = folder / "bin" / "python"
        if not python.exists():
            python.parent.mkdir(parents=True)
            python.symlink_to(own)
            for name in ("pyvenv.cfg", "lib"):
                (folder / name).symlink_to(own.parents[1] / name)
        return python


def unpack_release(archive: Path, folder: Path) -> EarlierRelease:
    """Unpack a release into a folder."""
    sources = folder / "sources"
    with tarfile.open(archive) as reader:
        reader.extractall(sources, filter="data")
    return EarlierRelease(sources, folder / "environments")
