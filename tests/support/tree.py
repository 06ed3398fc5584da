"""What a bucket holds, as one value: two that are equal mean that nothing was written, replaced or left behind."""

import hashlib
from pathlib import Path


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder`, unfinished ones too; folders count as `path/`."""
    return {
        str(path.relative_to(folder)) + "/" * path.is_dir(): (
            "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
    }
