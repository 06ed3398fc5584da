"""Generate the JSON files of the dashboards in this folder. `make docs` runs this; a test compares the files."""

import json
import sys
from pathlib import Path

from chief import chief
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from search import search
from workers import workers


def write(folder: Path) -> None:
    """Write the JSON files of all dashboards."""
    for name, dashboard in {"search": search(), "workers": workers(), "chief": chief()}.items():
        plain = json.loads(JSONEncoder().encode(dashboard.build()))
        (folder / f"{name}.json").write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
