"""Write requirements/licenses.csv: the licence of every package of the locks. `make lock` and `make licenses` run this.

A release and an image are built without a package index, so what their SBOMs say about licences is kept in that file.
pip reads the metadata of each package, without the package itself if the index offers that.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
FILE = REQUIREMENTS / "licenses.csv"
ELSEWHERE = ("--platform", "win_amd64", "--python-version", "3.13", "--only-binary", ":all:", "--target", "unused")
"""Options of pip for packages that cannot be installed here."""
SPDX = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "mit license": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "2-clause bsd": "BSD-2-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "nvidia proprietary software": "LicenseRef-NVIDIA-Proprietary",
    "other/proprietary license": "LicenseRef-Proprietary",
}
"""What packages write instead of the identifiers of SPDX, in lower case."""
NOT_IN_THE_METADATA = {"huey": "MIT", "namex": "Apache-2.0", "skops": "MIT"}
"""Licences of packages that have only the file of their licence."""


def locked_packages(lock: Path) -> list[Requirement]:
    """Return the packages of a lock, with their versions and markers. Some have a version per Python."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if line[:1].isalnum()]


def known_licenses() -> dict[str, str]:
    """Return the licence of each package as FILE has it, by the package's normalized name."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row["package"]: row["license"] for row in csv.DictReader(file)}


def license_of(metadata: dict[str, Any]) -> str:
    """Return the licence in the metadata of a package: an SPDX expression if possible, and otherwise its own words."""
    classifiers = [line.split(" :: ")[-1] for line in metadata.get("classifier", []) if line.startswith("License ::")]
    words = metadata.get("license") or ""
    if "\n" in words or len(words) > 60 or words.upper() == "UNKNOWN":
        words = ""  # the whole text of a licence, or nothing
    stated = metadata.get("license_expression") or words or " AND ".join(classifiers)
    name: str = canonicalize_name(metadata["name"])
    return NOT_IN_THE_METADATA.get(name) or SPDX.get(stated.lower(), stated)


def main() -> None:
    """Write FILE again."""
    packages: dict[NormalizedName, Requirement] = {}
    for lock in sorted(REQUIREMENTS.glob("*.txt")):
        for package in locked_packages(lock):
            if canonicalize_name(package.name) not in packages or not package.marker or package.marker.evaluate():
                packages[canonicalize_name(package.name)] = package
    here = {name for name, package in packages.items() if not package.marker or package.marker.evaluate()}
    found = _read([packages[name] for name in sorted(here)])
    for name in sorted(packages.keys() - here):
        found += _read([packages[name]], ELSEWHERE)
    licenses = {canonicalize_name(metadata["name"]): license_of(metadata) for metadata in found}
    missing = [name for name in packages if not licenses.get(name)]
    if missing:
        raise SystemExit(f"No licence is known of {', '.join(missing)}; add it to NOT_IN_THE_METADATA in {__file__}.")
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("package", "license"), *sorted(licenses.items())])


def _read(packages: Iterable[Requirement], other_platform: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the metadata of packages; of those only that can be installed here, or on the other platform if given."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    names = [f"{package.name}{package.specifier}" for package in packages]
    for options in ((), other_platform) if other_platform else ((),):
        done = subprocess.run(
            [*pip, "--report", "-", *options, *names], capture_output=True, text=True, check=not other_platform
        )
        if not done.returncode:
            return [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return []


if __name__ == "__main__":
    main()
