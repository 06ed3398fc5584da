"""A console that prints no control characters of others: only those that it makes itself, such as colours."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tuner.printable import printable


class SafeConsole(Console):
    """Masks the control characters of everything that is printed, in tables, lines, progress bars and live views.

    It is the last line of defence and keeps line breaks. Names are masked where they are inserted (`printable`).
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, with control characters masked."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield segment._replace(text=printable(segment.text, keep="\n"))
