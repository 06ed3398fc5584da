"""Write the SBOMs (CycloneDX) of locks, and one table of the licences of their packages.

usage: python -m tools.sbom LOCK... --into FOLDER [--version VERSION] [--installed FOLDER...]

cyclonedx-py reads the locks. Licences come from requirements/licenses.csv, because a lock has none. A reference to a
package's files names no package index: the files are identified by their hashes. A date is written only if
SOURCE_DATE_EPOCH is set.
"""

import argparse
import csv
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.license import LicenseExpression
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name, canonicalize_version

from tools.licenses import known_licenses

TABLE = "third-party-licenses.csv"


def bill_of(lock: Path, version: str) -> dict[str, Any]:
    """Return the SBOM of a lock, as JSON: every package with its version, licence and the hashes of its files."""
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "requirements",
        "--output-reproducible",
        "--no-validate",
        str(lock),
    ]
    bill: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    licenses = known_licenses()
    for component in bill["components"]:
        name = canonicalize_name(component["name"])
        if name not in licenses:
            raise SystemExit(f"requirements/licenses.csv does not have {name} of {lock.name}; run `make licenses`.")
        del component["description"]  # the line of the lock
        component["bom-ref"] = component["purl"]
        component["licenses"] = [_license(licenses[name])]
        for reference in component["externalReferences"]:
            del reference["comment"]
            reference["url"] = component["purl"]
    bill["components"].sort(key=lambda component: str(component["bom-ref"]))
    for tool in bill["metadata"]["tools"]["components"]:
        del tool["externalReferences"]
    bill["metadata"]["component"] = {
        "type": "application",
        "bom-ref": "cifake-tune",
        "name": "cifake-tune",
        "version": version,
        "description": f"The environment of requirements/{lock.name}",
        "licenses": [_license("Apache-2.0")],
    }
    _set_references(bill)
    return bill


def only_installed(bills: dict[str, dict[str, Any]], folders: list[Path]) -> dict[str, dict[str, Any]]:
    """Return SBOMs with only the packages that folders of packages (site-packages) contain.

    A lock is for all platforms and Pythons, and an image leaves out what only builds packages.

    Raises:
        SystemExit: A package of the folders is in no SBOM.
    """
    installed = {
        (canonicalize_name(found.metadata["Name"]), canonicalize_version(found.version))
        for found in importlib.metadata.distributions(path=[str(folder) for folder in folders])
    }
    remaining: dict[str, dict[str, Any]] = {}
    listed: set[tuple[str, str]] = set()
    for name, bill in bills.items():
        components = {
            (canonicalize_name(component["name"]), canonicalize_version(component["version"])): component
            for component in bill["components"]
        }
        listed |= components.keys()
        remaining[name] = bill | {"components": [item for key, item in components.items() if key in installed]}
        _set_references(remaining[name])
    if unknown := [f"{name} {version}" for name, version in sorted(installed - listed)]:
        raise SystemExit(f"Packages are installed that no lock has: {', '.join(unknown)}.")
    return remaining


def write(bills: dict[str, dict[str, Any]], into: Path) -> None:
    """Write SBOMs, by the names of their locks, and the table of the licences.

    Raises:
        SystemExit: An SBOM does not match the schema of CycloneDX.
    """
    into.mkdir(parents=True, exist_ok=True)
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    packages: dict[tuple[str, str, str], list[str]] = {}
    for name, bill in sorted(bills.items()):
        text = json.dumps(bill, indent=1, sort_keys=True) + "\n"
        if error := validator.validate_str(text):
            raise SystemExit(f"The SBOM of {name} is not valid: {error}")
        (into / f"sbom-{name}.cdx.json").write_text(text, encoding="utf-8")
        for component in bill["components"]:
            (choice,) = component["licenses"]
            stated = choice.get("expression") or choice["license"].get("id") or choice["license"]["name"]
            packages.setdefault((component["name"], component["version"], stated), []).append(name)
    with (into / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("package", "version", "license", "locks"))
        writer.writerows((*package, " ".join(locks)) for package, locks in sorted(packages.items()))


def _license(stated: str) -> dict[str, Any]:
    found = LicenseFactory().make_from_string(stated)
    if isinstance(found, LicenseExpression):
        return {"expression": found.value}
    return {"license": {"id": found.id} if found.id else {"name": found.name}}


def _set_references(bill: dict[str, Any]) -> None:
    bill["dependencies"] = [{"ref": "cifake-tune"}, *({"ref": item["bom-ref"]} for item in bill["components"])]


def main() -> None:
    """Write the SBOMs of the locks on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("locks", type=Path, nargs="+", metavar="LOCK")
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--version", default="unknown", help="version of cifake-tune")
    parser.add_argument(
        "--installed", type=Path, nargs="+", metavar="FOLDER", help="list only packages in these folders"
    )
    arguments = parser.parse_args()
    bills = {lock.stem: bill_of(lock, arguments.version) for lock in arguments.locks}
    if arguments.installed:
        bills = only_installed(bills, arguments.installed)
    write(bills, arguments.into)


if __name__ == "__main__":
    main()
