"""A folder on a real NFS server, mounted by two clients with caches of their own, in a kernel that the test starts."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUPPORT = HERE.parent / "support" / "nfs"
CLAIMS = 14
"""Number of claims of nfs_clients.py."""
VERSIONS = 2


def claims(script: str, folder: Path, limit_s: float) -> list[str]:
    """Run a script of this folder in the kernel, for each version of NFS, and return the lines that it claims."""
    found = subprocess.run([SUPPORT / "tools"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"needs user-mode Linux and NFS: {found.stderr.strip()}")
    tools, disk = Path(found.stdout.strip()), folder / "disk"
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    variables = {"TOOLS": tools, "PYTHON": sys.executable, "SCRIPT": HERE / script, "FOLDER": HERE.parents[1]}
    command = [str(tools / "usr/bin/linux.uml"), "mem=768M", "rootfstype=hostfs", "rootflags=/", "ro", f"ubd0={disk}"]
    command += ["con=null", "con0=null,fd:1", "quiet", f"init={SUPPORT / 'init'}"]
    command += [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False
    )
    if "NFS" not in done.stdout and done.returncode:
        pytest.skip(f"user-mode Linux does not start here: {done.stdout[-300:]}{done.stderr[-300:]}")
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("NFS ")]
    assert [line for line in lines if not line.endswith(": yes")] == [], done.stdout
    return lines


@pytest.mark.slow
def test_two_clients_see_one_bucket(tmp_path: Path) -> None:
    assert len(claims("nfs_clients.py", tmp_path, 600)) == VERSIONS * CLAIMS


@pytest.mark.exhaustive
def test_a_folder_on_nfs_passes_the_tests_of_a_folder(tmp_path: Path) -> None:
    assert len(claims("nfs_contract.py", tmp_path, 1800)) == VERSIONS
