"""The command as child processes around one bucket, watched through the journal, and ended by process id."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.study.journal import JournalReader, read_records
from tuner.study.records import Record, Reported
from tuner.study.state import StudyState

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SPACES = HERE / "spaces"
JAX_PYTHON = os.environ.get("CIFAKE_TUNE_JAX_PYTHON")
"""An interpreter with JAX and no TensorFlow; a process of it starts in a third of the processor time."""
BACKENDS = ("tensorflow", "jax")
FASTEST_BACKEND = "jax" if JAX_PYTHON else "tensorflow"
"""For whatever holds on both: processes, leases, journals, errors, pages."""
JAX_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    # what one process of the tests has compiled, the others read
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
STEPS = ("reading the data", "reading", "packing", "starting chief and workers", "evaluating")
PROGRESS = tuple(f"{step}: " for step in STEPS)
"""How lines on standard error begin that show progress."""
RUN_S = 300.0
"""No command takes so long, also on a busy machine; it is there to end a test whose claim does not hold."""
LOG_CHARACTERS = 4000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float
    cpu_s: float
    """Processor time of it and of the children that it waited for."""

    @property
    def error(self) -> str:
        """What it printed to standard error, without lines that show progress."""
        return "".join(line for line in self.err.splitlines(keepends=True) if not line.startswith(PROGRESS))

    @property
    def output(self) -> str:
        """What it printed, without the line breaks that are the terminal's."""
        return " ".join(self.out.split())


class Command:
    """A running `cifake-tune …`."""

    def __init__(
        self,
        place: "Place",
        arguments: tuple[str, ...],
        python: Path,
        environment: Mapping[str, str],
        under: Sequence[str] = (),
        command: Sequence[str] = (),
    ) -> None:
        place.commands += 1
        self._place = place
        self._out = place.folder / f"command-{place.commands}.out"
        self._err = place.folder / f"command-{place.commands}.err"
        self._began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*under, *(command or program(python)), *arguments],
                env={**place.environment, **environment},
                cwd=place.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self._out.read_text()

    def wait(self, timeout_s: float = RUN_S) -> Done:
        """Wait for its end; an AssertionError with all logs where it takes too long."""
        start_times = os.times()
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the command runs after {timeout_s:g} s\n{self._place.logs()}") from None
        after = os.times()
        return Done(
            code=code,
            out=self._out.read_text(),
            err=self._err.read_text(),
            seconds=time.monotonic() - self._began,
            cpu_s=sum(after[2:4]) - sum(start_times[2:4]),
        )


@dataclass
class Place:
    """A folder with a bucket and a cache of its own. All processes that know this cache are ended at the end."""

    folder: Path
    study: str = "cifake"
    commands: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    backend: str = FASTEST_BACKEND

    def __post_init__(self) -> None:
        # each process would compile all of our modules again if it could not keep the byte code
        ours = ("CIFAKE_TUNE_", "KERASTUNER_", "JAX_", "PYTHONDONTWRITEBYTECODE")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)} | {
            names.ENV_BUCKET: str(self.bucket_folder),
            names.ENV_CACHE: str(self.cache),
            "KERAS_BACKEND": self.backend,
            "CUDA_VISIBLE_DEVICES": "-1",
            **JAX_ENVIRONMENT,
            "COLUMNS": "200",
            "INTEGRATION_GATE": str(self.gate),
            **self.environment,
        }
        self.gate.mkdir(exist_ok=True)

    @property
    def bucket_folder(self) -> Path:
        """Where the bucket is."""
        return self.folder / "bucket"

    @property
    def bucket(self) -> LocalBucket:
        """The bucket."""
        return LocalBucket(self.bucket_folder)

    @property
    def cache(self) -> Path:
        """Where the cache and the logs of the children are."""
        return self.folder / "cache"

    @property
    def gate(self) -> Path:
        """Folder whose files `spaces/` waits at."""
        return self.folder / "gate"

    # ---- commands ---------------------------------------------------------------------------------

    def start(self, *arguments: str, backend: str = "", under: Sequence[str] = (), **environment: str) -> Command:
        """Start `cifake-tune` with these arguments, `under` another command where one is given."""
        backend = backend or self.backend
        return Command(self, arguments, python_with(backend), {"KERAS_BACKEND": backend, **environment}, under)

    def do(self, *arguments: str, backend: str = "", under: Sequence[str] = (), **environment: str) -> Done:
        """Run `cifake-tune` to its end."""
        return self.start(*arguments, backend=backend, under=under, **environment).wait()

    # ---- what is seen of the study ------------------------------------------------------------------

    def reader(self) -> JournalReader:
        """Return a reader that has read all there is."""
        reader = JournalReader(self.bucket, self.study)
        reader.poll()
        return reader

    def state(self) -> StudyState:
        """Return the study's state."""
        return self.reader().state

    def records(self) -> list[Record]:
        """Return the journal."""
        return list(read_records(self.bucket, self.study))

    def reports(self) -> list[tuple[str, int]]:
        """Return trial and epoch of all reports, in their order."""
        return [(record.trial, record.epoch) for record in self.records() if isinstance(record, Reported)]

    def wait_for(self, condition: Callable[[StudyState], Result], what: str, command: Command) -> Result:
        """Follow the journal until the condition is true of its state, and return what it returned.

        AssertionError where that takes too long, or the command ends before.
        """
        reader = self.reader()
        deadline = time.monotonic() + RUN_S
        while not (result := condition(reader.state)):
            ended = command.process.poll()
            reader.poll()
            if ended is not None and not condition(reader.state):
                raise AssertionError(f"the command ended with {ended} before {what}\n{self.logs()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {RUN_S:g} s\n{self.logs()}")
            time.sleep(0.05)
        return result

    # ---- processes --------------------------------------------------------------------------------

    def processes(self, role: str = "") -> dict[int, str]:
        """Return process ids and command lines of our commands, or of those in one role."""
        mark = f"{names.ENV_CACHE}={self.cache}\0".encode()
        command_lines = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                if mark not in (entry / "environ").read_bytes() + b"\0":
                    continue
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue  # it has just ended, or is not ours
            if line and (not role or f"cifake-tune {role}" in line):  # a zombie has no command line
                command_lines[int(entry.name)] = line
        return command_lines

    def kill(self, number: int, role: str = "") -> list[int]:
        """Send a signal to all our processes, or those in one role; return their ids."""
        pids = list(self.processes(role))
        for process in pids:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue
        return pids

    def logs(self) -> str:
        """Return the ends of what all processes wrote."""
        files = [*sorted(self.folder.glob("command-*")), *sorted(self.cache.glob("logs/**/*.log"))]
        return "\n".join(f"---- {file.name}\n{file.read_text(errors='replace')[-LOG_CHARACTERS:]}" for file in files)


def python_with(backend: str) -> Path:
    """Return an interpreter that has this backend; skip the test if there is none."""
    if backend == "tensorflow":
        return Path(sys.executable)
    if not JAX_PYTHON:
        pytest.skip("CIFAKE_TUNE_JAX_PYTHON names no interpreter with JAX (`make test` sets it)")
    return Path(JAX_PYTHON)


def program(python: Path) -> list[str]:
    """Return the command that belongs to an interpreter."""
    script = python.with_name("cifake-tune")
    return [str(script)] if script.exists() else [str(python), "-m", "cifake_tune"]


def settings(**values: object) -> list[str]:
    """Return `--set` arguments; `search__max_trials=3` is search.max_trials=3."""
    pairs = [f"{key.replace('__', '.').replace('import_', 'import')}={value}" for key, value in values.items()]
    return [argument for pair in pairs for argument in ("--set", pair)]


def space(name: str) -> list[str]:
    """Return the arguments that choose a HyperModel of `spaces/user_spaces.py`."""
    return settings(space__import_=f"user_spaces:{name}", space__code=SPACES)


def coloured_images(folder: Path, classes: int = 2, per_class: int = 40, test: int = 10, side: int = 8) -> Path:
    """Write PNG files of as many classes, which noise of their own colour tells apart, and return their folder."""
    rng = np.random.default_rng(0)
    for index in range(classes):
        level = np.full(3, 90.0)
        level[index % 3] += 80
        for split, count in (("train", per_class), ("test", test)):
            place = folder / split / f"class-{index}"
            place.mkdir(parents=True)
            for number, image in enumerate(rng.normal(level, 40, (count, side, side, 3))):
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(place / f"{number:04d}.png")
    return folder


OPEN: list[Place] = []
"""Those whose logs are shown when a test fails."""


@contextmanager
def place(folder: Path, study: str = "cifake", backend: str = FASTEST_BACKEND, **environment: str) -> Iterator[Place]:
    """Yield a place; at the end all its processes are killed."""
    new_place = Place(folder, study, environment=environment, backend=backend)
    OPEN.append(new_place)
    try:
        yield new_place
    finally:
        while new_place.processes():
            new_place.kill(9)
        OPEN.remove(new_place)
