"""The files of a release: what `make release` makes, that it makes the same again, and that they are enough."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tools import sbom
from tools.licenses import known_licenses, locked_packages
from tools.release import USERS_LOCKS, ReleaseError, changelog_section, changes_of, check_versions

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
VERSION = "9.9.9"
SECTION = """### Added

- A command `fly` ([docs/study.md](docs/study.md)), which is described
  on two lines.

### Fixed

- Quotes: "a" and 'b'."""


@dataclass(frozen=True)
class Release:
    """A checkout, and the files that were built of it."""

    checkout: Path
    folder: Path

    @property
    def key(self) -> Path:
        """The key with which it may be signed."""
        return self.checkout.with_name("key")

    @property
    def wheel(self) -> Path:
        return self.folder / f"cifake_tune-{VERSION}-py3-none-any.whl"

    @property
    def sdist(self) -> Path:
        return self.folder / f"cifake_tune-{VERSION}.tar.gz"

    @property
    def chart(self) -> Path:
        return self.folder / f"cifake-tune-{VERSION}.tgz"


def git(checkout: Path, *arguments: str) -> None:
    names = {
        f"GIT_{role}_{key}": "release@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    dates = {f"GIT_{role}_DATE": "2026-01-02T03:04:05+00:00" for role in ("AUTHOR", "COMMITTER")}
    environment = os.environ | names | dates | {"GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *arguments], cwd=checkout, env=environment, capture_output=True, check=True)


def commit_release(checkout: Path) -> None:
    """Make a repository with one commit: these files, as they are now, with another version and its changes."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    subprocess.run(["make", "--silent", "version", f"VERSION={VERSION}"], cwd=checkout, check=True)
    changelog = checkout / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace("\n## ", f"\n## {VERSION} - 2026-01-02\n\n{SECTION}\n\n## ", 1), encoding="utf-8")
    git(checkout, "init", "--quiet")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Release")


def release(
    checkout: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.release", VERSION, *arguments]
    variables = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    return subprocess.run(
        command, cwd=checkout, env=variables | (environment or {}), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Release:
    if not (ROOT / ".git").exists() or not shutil.which("helm"):
        pytest.skip("needs a git checkout, and helm")
    checkout = tmp_path_factory.mktemp("checkout")
    commit_release(checkout)
    done = release(checkout)
    assert done.returncode == 0, done.stderr
    return Release(checkout, checkout / "dist" / VERSION)


@pytest.fixture(scope="module")
def rebuilt(built: Release, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return the same release, built later, signed, in another folder, of files with other times and permissions."""
    checkout = tmp_path_factory.mktemp("elsewhere") / "again"
    again = Release(checkout, checkout / "dist" / VERSION)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", again.key], check=True)
    mask = os.umask(0o077)
    try:
        git(checkout.parent, "clone", "--quiet", str(built.checkout), str(checkout))
        for file in checkout.rglob("*"):
            os.utime(file, (1e9, 1e9))
        (checkout / "tuner" / "__pycache__").mkdir()
        (checkout / "tuner" / "__pycache__" / "ignored.pyc").write_bytes(b"ignored by git")
        environment = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
        done = release(checkout, "--sign-key", str(again.key), environment=environment)
    finally:
        os.umask(mask)
    assert done.returncode == 0, done.stderr
    return again


def sums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """Return a file, or what is in it if it is an archive."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    elif file.suffix in (".gz", ".tgz"):
        with tarfile.open(file) as packed:
            for member in packed:
                content = packed.extractfile(member)
                if content:
                    yield member.name, content.read()
    else:
        yield file.name, file.read_bytes()


# ---- the files ----------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_release_has_these_files_and_their_hashes(built: Release) -> None:
    assert set(sums(built.folder)) == {
        built.wheel.name, built.sdist.name, built.chart.name, "LICENSE", "release-notes.md", "SHA256SUMS", sbom.TABLE,
        *(f"requirements-{name}.txt" for name in USERS_LOCKS), *(f"sbom-{lock.stem}.cdx.json" for lock in LOCKS),
    }  # fmt: skip
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=built.folder, check=True)
    listed = {line.split()[1] for line in (built.folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == set(sums(built.folder)) - {"SHA256SUMS"}
    assert (built.folder / "release-notes.md").read_text() == f"# cifake-tune {VERSION}\n\n{SECTION}\n"


@pytest.mark.slow
def test_another_folder_day_and_user_give_the_same_files(built: Release, rebuilt: Release) -> None:
    again = sums(rebuilt.folder)
    assert again.pop("SHA256SUMS.sig")
    assert again == sums(built.folder)


@pytest.mark.slow
def test_no_file_names_the_machine_or_a_package_index(built: Release) -> None:
    configured = [value for name, value in os.environ.items() if re.fullmatch(r"(PIP|UV)_.*(INDEX|URL|LINKS).*", name)]
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    configured += re.findall(r"https?://[^'\s]+", listed.stdout)
    hosts = {urlsplit(url).hostname for value in configured for url in value.split()} - {None, "localhost", "127.0.0.1"}
    forbidden = [
        str(ROOT),
        str(built.checkout),
        tempfile.gettempdir() + "/tmp",
        f"{Path.home()}/",
        *filter(None, hosts),
    ]
    found = [
        (file.name, name, words)
        for file in built.folder.iterdir()
        for name, content in contents(file)
        for words in forbidden
        if words.encode() in content
    ]
    assert found == []
    for file in built.folder.glob("*.cdx.json"):
        assert re.findall(r"\w+://[^\"]*", file.read_text()) == ["http://cyclonedx.org/schema/bom-1.6.schema.json"]


@pytest.mark.slow
def test_a_signature_is_valid_for_these_files_alone(rebuilt: Release, tmp_path: Path) -> None:
    signers = tmp_path / "allowed_signers"
    signers.write_text(f'cifake-tune namespaces="cifake-tune" {rebuilt.key.with_suffix(".pub").read_text()}')
    signature = str(rebuilt.folder / "SHA256SUMS.sig")
    verify = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        str(signers),
        "-I",
        "cifake-tune",
        "-n",
        "cifake-tune",
        "-s",
        signature,
    ]
    good = (rebuilt.folder / "SHA256SUMS").read_bytes()
    assert subprocess.run(verify, input=good, check=False, capture_output=True).returncode == 0
    other = good.replace(b"0", b"1", 1)
    assert subprocess.run(verify, input=other, check=False, capture_output=True).returncode != 0


# ---- what cannot be released --------------------------------------------------------------------
@pytest.mark.slow
def test_a_checkout_with_changes_is_not_released(built: Release) -> None:
    new = built.checkout / "new.txt"
    new.write_text("not committed")
    done = release(built.checkout)
    new.unlink()
    assert done.returncode == 1
    assert done.stderr.endswith("not committed; commit or remove them:\n?? new.txt\n"), done.stderr


def test_a_version_without_a_section_of_the_changelog_is_not_released() -> None:
    changelog = f"# Changelog\n\n## {VERSION} - 2026-01-02\n\n{SECTION}\n\n## 1.0.0\n\n## 0.9.0\n\nFirst.\n"
    assert changelog_section(changelog, VERSION) == SECTION
    assert changelog_section(changelog, "0.9.0") == "First."
    for version in ("9.9", "9.9.90", "9x9.9", "1.0.0"):
        with pytest.raises(ReleaseError, match=rf"CHANGELOG\.md has no section {re.escape(version)}; name the section"):
            changelog_section(changelog, version)


@pytest.mark.parametrize("place", ["tuner/__init__.py", "version of charts/Chart.yaml", "appVersion of charts"])
def test_a_version_that_differs_in_one_file_is_not_released(tmp_path: Path, place: str) -> None:
    def of(name: str) -> str:
        return "9.9.8" if place.startswith(name) else VERSION

    for folder in ("tuner", "charts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tuner" / "__init__.py").write_text(f'__version__ = "{of("tuner")}"\n')
    (tmp_path / "charts" / "Chart.yaml").write_text(f"version: {of('version')}\nappVersion: {of('appVersion')}\n")
    with pytest.raises(ReleaseError, match=rf"must be 9\.9\.9, but {place}.* has 9\.9\.8; run `make version VERSION="):
        check_versions(tmp_path, VERSION)
    shutil.copy(ROOT / "Makefile", tmp_path)
    subprocess.run(["make", "--silent", "version", f"VERSION={VERSION}"], cwd=tmp_path, check=True)
    check_versions(tmp_path, VERSION)


# ---- the chart ----------------------------------------------------------------------------------
def test_changes_are_plain_text_for_artifact_hub() -> None:
    assert changes_of(SECTION) == [
        {"kind": "added", "description": "A command fly (docs/study.md), which is described on two lines."},
        {"kind": "fixed", "description": "Quotes: \"a\" and 'b'."},
    ]
    with pytest.raises(ReleaseError, match="must be one of added, changed"):
        changes_of("### Novelties\n\n- One.\n")


@pytest.mark.slow
def test_the_packaged_chart_has_what_a_catalogue_shows(built: Release) -> None:
    files = {name.removeprefix("cifake-tune/"): content for name, content in contents(built.chart)}
    assert {"values.schema.json", "values.yaml", "README.md", "LICENSE", "dashboards/chief.json"} <= files.keys()
    assert [name for name in files if name.startswith(("tests/", "ci/", "schema/"))] == []
    chart = yaml.safe_load(files["Chart.yaml"])
    assert chart["version"] == chart["appVersion"] == VERSION
    assert chart["home"].startswith("https://")
    assert chart["sources"]
    assert chart["maintainers"][0]["name"]
    assert chart["icon"].startswith("data:image/svg+xml;base64,")
    annotations = chart["annotations"]
    assert yaml.safe_load(annotations["artifacthub.io/changes"]) == changes_of(SECTION)
    assert yaml.safe_load(annotations["artifacthub.io/images"])[0]["image"] == f"cifake-tune:{VERSION}"
    assert annotations["artifacthub.io/license"] == "Apache-2.0"


@pytest.mark.slow
def test_the_packaged_chart_renders_what_its_folder_renders(built: Release) -> None:
    subprocess.run(["helm", "lint", "--strict", built.chart], capture_output=True, check=True)

    def rendered(chart: Path) -> list[dict[str, Any]]:
        command = ["helm", "template", "night", str(chart), "--set", "tls.existingSecret=mine"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [item for item in yaml.safe_load_all(done.stdout) if item]

    objects = rendered(built.chart)
    assert objects == rendered(built.checkout / "charts")
    assert f"cifake-tune:{VERSION}" in json.dumps(objects)


# ---- the packages of Python ---------------------------------------------------------------------
@pytest.mark.slow
def test_the_wheel_has_the_program_and_its_licence_and_no_test(built: Release) -> None:
    names = [name for name, _ in contents(built.wheel)]
    info = f"cifake_tune-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in names} == {"cifake_tune.py", "k8s", "tuner", info}
    assert f"{info}/licenses/LICENSE" in names
    source = {path.relative_to(built.checkout).as_posix() for path in built.checkout.rglob("*") if path.is_file()}
    expected = {name for name in source if name.startswith(("tuner/", "k8s/")) and "__pycache__" not in name}
    assert {name for name in names if not name.startswith(info)} == {"cifake_tune.py", *expected}


@pytest.mark.slow
def test_the_sdist_gives_the_same_wheel_and_has_what_an_image_is_built_from(built: Release, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
        time = str(max(member.mtime for member in archive))
    source = tmp_path / f"cifake_tune-{VERSION}"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (source / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    wanted = [name.replace("${LOCK}", lock) for line in copied for name in line.split() for lock in USERS_LOCKS]
    assert [name for name in wanted if not (source / name).exists()] == []
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=source,
        env=os.environ | {"SOURCE_DATE_EPOCH": time},
        capture_output=True,
        check=True,
    )
    assert (tmp_path / built.wheel.name).read_bytes() == built.wheel.read_bytes()


@pytest.mark.slow
def test_a_search_runs_in_an_environment_that_has_only_the_wheel(built: Release, tmp_path: Path) -> None:
    """The dependencies are those of this machine's environment, which the lock has installed by hash."""
    python = python_with(FASTEST_BACKEND)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    (own,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (own / "dependencies.pth").write_text(
        packages
    )  # the .pth files in there, such as that of this checkout, are not read
    fresh = tmp_path / "venv" / "bin"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CIFAKE_TUNE"))}
    environment |= {"KERAS_BACKEND": FASTEST_BACKEND, **JAX_ENVIRONMENT}

    def run(*command: str) -> str:
        command = (str(fresh / command[0]), *command[1:])
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run("python", "-m", "pip", "install", "--no-index", "--no-deps", "--ignore-installed", str(built.wheel))
    assert str(own) in run("python", "-c", "import cifake_tune; print(cifake_tune.__file__)")
    assert run("cifake-tune", "--version") == f"{VERSION}\n"
    run("python", "-m", "pip", "check")
    settings = ["name=tiny", "search.max_trials=1", "training.epochs=1", "evaluation.robustness_images=0"]
    run("cifake-tune", "run", "--workers", "1", *(word for setting in settings for word in ("--set", setting)))
    evaluation = tmp_path / "cifake-tune-bucket" / "studies" / "tiny" / "evaluation"
    assert {"metrics.json", "report.html", "model_card.md"} <= {file.name for file in evaluation.iterdir()}


@pytest.mark.slow
def test_the_locks_of_a_release_are_those_of_the_repository(built: Release) -> None:
    for name in USERS_LOCKS:
        lock = (ROOT / "requirements" / f"{name}.txt").read_bytes()
        assert (built.folder / f"requirements-{name}.txt").read_bytes() == lock


@pytest.mark.slow
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_bill_of_a_lock_has_its_packages_hashes_and_licences(built: Release, lock: Path) -> None:
    bill = json.loads((built.folder / f"sbom-{lock.stem}.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", VERSION)
    assert bill["metadata"]["timestamp"].startswith("2026-01-02T03:04:05")
    components = bill["components"]
    assert sorted(f"{item['name']}=={item['version']}" for item in components) == sorted(
        f"{package.name}{package.specifier}" for package in locked_packages(lock)
    )
    hashes = {
        digest["content"] for item in components for file in item["externalReferences"] for digest in file["hashes"]
    }
    assert hashes == set(re.findall(r"--hash=sha256:(\w+)", lock.read_text()))
    with (built.folder / sbom.TABLE).open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if lock.stem in row["locks"].split()]
    assert len(rows) == len(components)
    assert {row["license"] for row in rows} <= set(known_licenses().values())
