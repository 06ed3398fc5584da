"""What zip and tar archives on a disk have in common as sources."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class ArchiveFile:
    """A local archive."""

    path: Path
    label: str = ""

    small_image_bytes: ClassVar[int]
    """Size of one of CIFAKE's images in an archive of this format."""

    @property
    def name(self) -> str:
        """`label`, or by default the archive's own name."""
        return self.label or self.path.name

    def likely_files(self) -> int:
        """Return an estimate from the archive's size that assumes images as small as CIFAKE's."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size // self.small_image_bytes
        return 0
