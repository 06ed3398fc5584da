"""The commands that a page shows in its blocks of a console, as a reader would type them."""

import re
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*?)(?: {2,}# .*)?$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return the commands of a page in their order, without prompts, comments and output."""
    return [command for block in BLOCK.findall(page.read_text(encoding="utf-8")) for command in COMMAND.findall(block)]
