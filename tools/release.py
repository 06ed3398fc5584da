"""Build the files of a release from a commit, twice the same. `make release VERSION=…` runs this.

usage: python -m tools.release VERSION [--into dist] [--sign-key KEY]

The files are made from what is committed, in a temporary folder, and every time in them is that of the commit. So they
depend neither on the folder of the checkout, nor on its ignored files, nor on the day. docs/releasing.md lists them.
"""

import argparse
import base64
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tools import sbom

ROOT = Path(__file__).parents[1]
SUMS = "SHA256SUMS"
NAMESPACE = "cifake-tune"
"""What a signature is for, so that a signature of something else with the same key is not valid here."""
USERS_LOCKS = ("tensorflow", "cuda", "jax", "jax-cuda")
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")
"""Headings of a section of the changelog, and the kinds of changes of Artifact Hub."""


class ReleaseError(Exception):
    """Something that must be done before the files can be built, as one sentence."""


def build(version: str, into: Path, sign_key: Path | None = None) -> Path:
    """Build all files of a release in the folder `into`/`version`, which is replaced, and return that folder.

    Raises:
        ReleaseError: The checkout is not what is to be released, or a program is missing or fails.
    """
    _require_programs()
    if changes := _run("git", "status", "--porcelain", cwd=ROOT).strip():
        raise ReleaseError(f"The checkout has changes that are not committed; commit or remove them:\n{changes}")
    time = int(_run("git", "log", "-1", "--format=%ct", cwd=ROOT))
    with tempfile.TemporaryDirectory() as folder:
        source, files = Path(folder) / "source", Path(folder) / "files"
        files.mkdir()
        _export(source)
        check_versions(source, version)
        section = changelog_section((source / "CHANGELOG.md").read_text(encoding="utf-8"), version)
        os.environ["SOURCE_DATE_EPOCH"] = str(time)  # for hatchling and cyclonedx-py
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(files), cwd=source)
        _build_chart(source, section, time, files)
        locks = sorted((source / "requirements").glob("*.txt"))
        sbom.write({lock.stem: sbom.bill_of(lock, version) for lock in locks}, files)
        for name in USERS_LOCKS:
            shutil.copyfile(source / "requirements" / f"{name}.txt", files / f"requirements-{name}.txt")
        shutil.copyfile(source / "LICENSE", files / "LICENSE")
        (files / "release-notes.md").write_text(f"# cifake-tune {version}\n\n{section}\n", encoding="utf-8")
        _write_sums(files)
        if sign_key:
            _run("ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(sign_key.resolve()), SUMS, cwd=files)
        target = into / version
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(files, target, copy_function=shutil.copyfile)
    return target


def check_versions(source: Path, version: str) -> None:
    """Check that the source has the version that is released.

    Raises:
        ReleaseError: A file has another version.
    """
    chart = yaml.safe_load((source / "charts" / "Chart.yaml").read_text(encoding="utf-8"))
    program = re.search(r'^__version__ = "(.*)"$', (source / "tuner" / "__init__.py").read_text(), re.MULTILINE)
    versions = {
        "tuner/__init__.py": program and program[1],
        "version of charts/Chart.yaml": chart["version"],
        "appVersion of charts/Chart.yaml": chart["appVersion"],
    }
    if others := [f"{place} has {found}" for place, found in versions.items() if found != version]:
        raise ReleaseError(
            f"The version must be {version}, but {' and '.join(others)}; run `make version VERSION={version}`."
        )


def changelog_section(changelog: str, version: str) -> str:
    """Return the text of the section of a version, without its heading.

    Raises:
        ReleaseError: The changelog has no such section, or it is empty.
    """
    heading = rf"^## \[?{re.escape(version)}\]?(?: [^\n]*)?\n(.*?)(?=^## |\Z)"
    found = re.search(heading, changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section {version}; name the section of the changes `## {version}`.")
    return found[1].strip()


def changes_of(section: str) -> list[dict[str, str]]:
    """Return the changes in a section of the changelog as Artifact Hub shows them: without links and markup."""
    changes = []
    for kind, text in re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL):
        if kind.lower() not in KINDS:
            raise ReleaseError(f"A heading of the changelog must be one of {', '.join(KINDS)}, got {kind}.")
        for change in re.findall(r"^- (.*(?:\n +.*)*)", text, re.MULTILINE):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", change).replace("`", "")
            changes.append({"kind": kind.lower(), "description": " ".join(plain.split())})
    return changes


def chart_metadata(source: Path, section: str) -> dict[str, Any]:
    """Return the content of the Chart.yaml of a release.

    pyproject.toml has the addresses, the maintainers and the licence. The icon is the one of the live page, as a
    `data:` address, so that it can be shown without a network.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    chart: dict[str, Any] = yaml.safe_load((source / "charts" / "Chart.yaml").read_text(encoding="utf-8"))
    values = yaml.safe_load((source / "charts" / "values.yaml").read_text(encoding="utf-8"))
    icon = (source / "tuner" / "live_page" / "static" / "favicon.svg").read_bytes()
    image = {"name": "cifake-tune", "image": f"{values['image']['repository']}:{chart['appVersion']}"}
    return chart | {
        "home": project["urls"]["Homepage"],
        "sources": [project["urls"]["Source"]],
        "maintainers": project["maintainers"],
        "icon": "data:image/svg+xml;base64," + base64.b64encode(icon).decode(),
        "annotations": {
            "artifacthub.io/category": "ai-machine-learning",
            "artifacthub.io/changes": _yaml(changes_of(section)),
            "artifacthub.io/images": _yaml([image]),
            "artifacthub.io/license": project["license"],
        },
    }


def _build_chart(source: Path, section: str, time: int, files: Path) -> None:
    """Package the chart. `helm package` chooses its files; their contents, order and times do not depend on helm."""
    chart = source / "charts"
    metadata = chart_metadata(source, section)
    (chart / "Chart.yaml").write_text(_yaml(metadata), encoding="utf-8")
    shutil.copyfile(source / "LICENSE", chart / "LICENSE")
    _run("helm", "package", str(chart), "--destination", str(files))
    package = files / f"{metadata['name']}-{metadata['version']}.tgz"
    with tarfile.open(package) as archive:
        names = sorted(member.name for member in archive if member.isfile())
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            content = (chart / Path(name).relative_to(metadata["name"])).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), time, 0o644
            archive.addfile(member, io.BytesIO(content))
    with package.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
        compressed.write(plain.getvalue())


def _export(source: Path) -> None:
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(source, filter="data")


def _write_sums(files: Path) -> None:
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files.iterdir())]
    (files / SUMS).write_text("".join(lines), encoding="utf-8")


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6)
    return text


def _require_programs() -> None:
    for program in ("git", "helm"):
        if not shutil.which(program):
            raise ReleaseError(f"{program} is needed to build a release, and was not found on PATH.")


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def main() -> None:
    """Build the release of the command line, and list its files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("--into", type=Path, default=ROOT / "dist")
    parser.add_argument("--sign-key", type=Path, help=f"key of SSH with which {SUMS} is signed")
    arguments = parser.parse_args()
    try:
        target = build(arguments.version, arguments.into, arguments.sign_key)
    except ReleaseError as error:
        raise SystemExit(str(error)) from None
    print("\n".join(str(file) for file in sorted(target.iterdir())))


if __name__ == "__main__":
    main()
