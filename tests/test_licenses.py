"""The licences of locked packages, and the SBOM of what an image has installed."""

from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tools import sbom
from tools.licenses import known_licenses, license_of, locked_packages

LOCKS = sorted((Path(__file__).parents[1] / "requirements").glob("*.txt"))


def test_the_licence_of_every_locked_package_is_known() -> None:
    locked = {canonicalize_name(package.name) for lock in LOCKS for package in locked_packages(lock)}
    assert locked - set(known_licenses()) == set(), "run `make licenses`"
    assert [name for name, stated in known_licenses().items() if not stated.strip()] == []


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "MIT OR Apache-2.0", "license": "x"}, "MIT OR Apache-2.0"),
        ({"license": "Apache 2.0"}, "Apache-2.0"),
        ({"license": "Copyright\nAll rights", "classifier": ["License :: OSI Approved :: ISC License (ISCL)"]}, "ISC"),
        ({"license": "UNKNOWN", "classifier": ["License :: OSI Approved :: BSD License"]}, "BSD License"),
        ({}, ""),
    ],
)
def test_a_licence_is_an_expression_of_spdx_if_its_words_are_clear(metadata: dict[str, Any], expected: str) -> None:
    assert license_of({"name": "some-package"} | metadata) == expected


def test_the_bill_of_an_image_has_only_what_is_installed(tmp_path: Path) -> None:
    def install(name: str, version: str) -> None:
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    lock = tmp_path / "lock.txt"
    pins = [
        "numpy==2.4.6 ; python_full_version < '3.12'",
        "numpy==2.5.5 ; python_full_version >= '3.12'",
        "rich==15.0.0",
    ]
    lock.write_text("".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in pins))
    bills = {"lock": sbom.bill_of(lock, "9.9.9")}
    install("NumPy", "2.4.6")
    (left,) = sbom.only_installed(bills, [tmp_path])["lock"]["components"]
    assert left["purl"] == "pkg:pypi/numpy@2.4.6"
    install("rich", "15.0.1")
    with pytest.raises(SystemExit, match=r"^Packages are installed that no lock has: rich 15\.0\.1\.$"):
        sbom.only_installed(bills, [tmp_path])
