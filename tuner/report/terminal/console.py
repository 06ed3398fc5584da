"""Consoles and progress: a progress bar on a terminal, occasional lines elsewhere.

Everything that takes longer than `FIRST_S` shows progress, on standard error.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO, TypeVar

from tuner.printable import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console

    from tuner.data.source import Progress

Item = TypeVar("Item")

FIRST_S = 2.0
"""Seconds after which something that has shown nothing shows progress."""
EVERY_S = 5.0
"""Seconds between two plain lines."""


def make_console(stderr: bool = False) -> "Console":
    """Return a console that prints text literally, since text from users and models may look like rich's markup.

    On a terminal, text is wrapped between words. Elsewhere it is not wrapped (`print_line`). Control characters are
    masked.
    """
    from tuner.report.terminal.safe_console import SafeConsole

    return SafeConsole(stderr=stderr, highlight=False, markup=False, emoji=False)


def print_line(console: "Console", text: str, style: str | None = None) -> None:
    """Print a sentence, on a single line if the output is a file or a pipe. Its control characters are masked."""
    console.print(printable(text), style=style, soft_wrap=not console.is_terminal)


def print_text(line: str) -> None:
    """Print a line of a log, which may be long, without a console. Control characters but tabs are masked."""
    print(printable(line, keep="\t"), flush=True)  # noqa: T201


def print_json(text: str) -> None:
    """Print JSON. Its control characters are escaped."""
    print(printable_json(text), flush=True)  # noqa: T201


def print_csv(text: str) -> None:
    """Print the lines of a CSV file, whose cells are safe already."""
    print(text, end="", flush=True)  # noqa: T201


@contextmanager
def shown_progress(what: str = "starting") -> Iterator[Callable[["Progress"], None]]:
    """Yield a function that shows progress on standard error: a bar on a terminal, occasional lines elsewhere.

    `what` is shown until the function is called.
    """
    from rich import progress as rich_progress

    console = make_console(stderr=True)
    if not console.is_terminal:
        lines = _Lines(console, what)
        with _ticking(lines.tick):
            yield lines
        return
    with rich_progress.Progress(
        rich_progress.TextColumn("{task.description:>11}"),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bars:
        tasks: dict[str, rich_progress.TaskID] = {}
        beginning: list[rich_progress.TaskID] = [bars.add_task(what, rate="", total=None)]

        def show(progress: "Progress") -> None:
            while beginning:
                bars.remove_task(beginning.pop())
            if progress.what not in tasks:
                tasks[progress.what] = bars.add_task(progress.what, rate="")
            task = tasks[progress.what]
            bars.update(task, completed=progress.done, total=progress.total or None)
            speed = bars.tasks[list(tasks).index(progress.what)].speed
            bars.update(task, rate=f"{speed:,.0f} {progress.unit}/s" if speed else "")

        yield show


@contextmanager
def shown_wait(what: str, stderr_is_hidden: bool = False) -> Iterator[None]:
    """Show on standard error that the program is doing `what`, from `FIRST_S` on: a spinner, or occasional lines.

    Nothing may be printed on the terminal meanwhile. With `stderr_is_hidden`, the descriptor of standard error may be
    redirected meanwhile.
    """
    # made here, because a thread that imports rich while this one imports Keras could find rich half imported
    console = make_console(stderr=True)
    with _copy_of_stderr() if stderr_is_hidden else nullcontext() as file:
        if file is not None:
            console.file = file
        waiting = _Waiting(console, what)
        try:
            with _ticking(waiting.tick):
                yield
        finally:
            waiting.end()


def waited_for(items: "Iterable[Item]", what: str, batch: int = 1) -> "Iterator[Item]":
    """Yield the items, and show `what` as the current activity while the first item of a batch takes long."""
    iterator = iter(items)
    for number in itertools.count():
        with shown_wait(what) if number % batch == 0 else nullcontext():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextmanager
def _copy_of_stderr() -> Iterator[TextIO | None]:
    """Yield standard error under a descriptor of its own; None if it has no descriptor."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or replaced by an object in memory
        yield None
        return
    with os.fdopen(descriptor, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors) as file:
        yield file


class _Waiting:
    """The spinner or the lines of `shown_wait`."""

    def __init__(self, console: "Console", what: str) -> None:
        self._lines = _Lines(console, what)
        self._status = console.status(f"{what} …") if console.is_terminal else None
        self._due = time.monotonic() + FIRST_S

    def tick(self) -> None:
        if self._status is None:
            self._lines.tick()
        elif time.monotonic() >= self._due:
            self._status.start()

    def end(self) -> None:
        if self._status is not None:
            self._status.stop()


class _Lines:
    """Prints a line every few seconds with the progress since the step began, also while the step reports nothing."""

    def __init__(self, console: "Console", what: str) -> None:
        self._console = console
        self._what = what
        self._progress: Progress | None = None
        self._step_started = time.monotonic()
        self._due = self._step_started + FIRST_S
        self._lock = threading.Lock()

    def __call__(self, progress: "Progress") -> None:
        with self._lock:
            if self._progress is None or progress.what != self._progress.what:
                self._step_started = time.monotonic()
            self._progress = progress
            self._print_if_due()

    def tick(self) -> None:
        with self._lock:
            self._print_if_due()

    def _print_if_due(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + EVERY_S
        elapsed_s, progress = now - self._step_started, self._progress
        if progress is None:
            print_line(self._console, f"{self._what}: {elapsed_s:.0f} s")
            return
        of_total = f" of {progress.total:,}" if progress.total else ""
        rate = f", {progress.done / elapsed_s:,.0f} {progress.unit}/s" if elapsed_s > 0 else ""
        print_line(self._console, f"{progress.what}: {progress.done:,}{of_total} {progress.unit}{rate}")


@contextmanager
def _ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` from a thread a few times per second."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(FIRST_S / 8):
            tick()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
