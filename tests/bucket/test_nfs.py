"""A folder on a real NFS server, mounted by two clients with caches of their own, in a kernel that the test starts."""

import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support" / "nfs"
CLAIMS = 14
"""Number of claims of nfs_clients.py."""
LIMIT_S = 300


@pytest.mark.slow
def test_two_clients_see_one_bucket(tmp_path: Path) -> None:
    found = subprocess.run([SUPPORT / "tools"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"needs user-mode Linux and NFS: {found.stderr.strip()}")
    tools, disk = Path(found.stdout.strip()), tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    variables = {
        "TOOLS": tools,
        "PYTHON": sys.executable,
        "SCRIPT": Path(__file__).with_name("nfs_clients.py"),
        "FOLDER": Path(__file__).parents[2],
    }
    command = [str(tools / "usr/bin/linux.uml"), "mem=768M", "rootfstype=hostfs", "rootflags=/", "ro", f"ubd0={disk}"]
    command += ["con=null", "con0=null,fd:1", "quiet", f"init={SUPPORT / 'init'}"]
    command += [f"{name}={value}" for name, value in variables.items()]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if "nfs" not in done.stdout.lower() and done.returncode:
        pytest.skip(f"user-mode Linux does not start here: {done.stdout[-300:]}{done.stderr[-300:]}")
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("NFS ")]
    assert [line for line in lines if not line.endswith(": yes")] == [], done.stdout
    assert len(lines) == 2 * CLAIMS, done.stdout
