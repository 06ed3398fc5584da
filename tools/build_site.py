"""Build the documentation site of this version: `make site`.

usage: python tools/build_site.py [SITE]
The folder SITE (default: build/site) gets a folder for the version, a copy of the newest version as `latest`, and the
versions.json from which the pages offer all versions. Keep SITE from release to release to keep the earlier versions.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tuner import __version__

ROOT = Path(__file__).parents[1]
LATEST = "latest"
START = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=latest/">
<title>cifake-tune</title>
<a href="latest/">cifake-tune</a>
</html>
"""


def main() -> int:
    """Build the site, and return the exit code."""
    site = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site / __version__)]
    # the theme's advertisement of its successor is no warning about these pages
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    # not --quiet, which hides warnings from --strict too
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr, end="")
        return done.returncode
    add_versions(site)
    print(f"built {site / __version__}; to read it: python -m http.server --bind 127.0.0.1 --directory {site}")
    return 0


def add_versions(site: Path) -> None:
    """Write what leads from one version to the others, in the form that Material's selector reads."""
    folders = [path.name for path in site.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
    versions = sorted(folders, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
    shutil.rmtree(site / LATEST, ignore_errors=True)
    shutil.copytree(site / versions[0], site / LATEST)  # a copy: not every web server follows links
    entries = [
        {"version": version, "title": version, "aliases": [LATEST] if version == versions[0] else []}
        for version in versions
    ]
    (site / "versions.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (site / "index.html").write_text(START, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
