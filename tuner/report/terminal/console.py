"""Consoles and progress: a progress bar on a terminal, occasional lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tuner.data.source import Progress

_PLAIN_EVERY_S = 5.0
"""Minimum number of seconds between two plain lines."""


def make_console(stderr: bool = False) -> "Console":
    """Return a console that prints text literally, since text from users and models may look like rich's markup.

    On a terminal, text is wrapped between words. Elsewhere it is not wrapped (`print_line`).
    """
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def print_line(console: "Console", text: str, style: str | None = None) -> None:
    """Print a sentence, on a single line if the output is a file or a pipe."""
    console.print(text, style=style, soft_wrap=not console.is_terminal)


@contextmanager
def shown_progress() -> Iterator[Callable[["Progress"], None]]:
    """Yield a function that shows progress on standard error: a bar on a terminal, occasional lines elsewhere."""
    from rich import progress as rich_progress

    console = make_console(stderr=True)
    if not console.is_terminal:
        yield _PlainLines(console)
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

        def show(progress: "Progress") -> None:
            if progress.what not in tasks:
                tasks[progress.what] = bars.add_task(progress.what, rate="")
            task = tasks[progress.what]
            bars.update(task, completed=progress.done, total=progress.total or None)
            speed = bars.tasks[list(tasks).index(progress.what)].speed
            bars.update(task, rate=f"{speed:,.0f} {progress.unit}/s" if speed else "")

        yield show


class _PlainLines:
    """Prints a line every few seconds with the progress since the step began."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._step, self._step_started, self._last_line = "", 0.0, 0.0

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        if progress.what != self._step:
            self._step, self._step_started, self._last_line = progress.what, now, now
        elif now - self._last_line >= _PLAIN_EVERY_S:
            self._last_line = now
            rate = progress.done / (now - self._step_started)
            of_total = f" of {progress.total:,}" if progress.total else ""
            print_line(
                self._console,
                f"{progress.what}: {progress.done:,}{of_total} {progress.unit}, {rate:,.0f} {progress.unit}/s",
            )
