"""Run the tests of a folder as a bucket in a folder on NFS: `nfs_contract.py VERSION FOLDER OTHER_MOUNT`.

`test_nfs.py` runs this within a kernel that has the server and the clients.
"""

import sys

import pytest

version, folder, _ = sys.argv[1:]
tests = ["tests/bucket/test_contract.py", "tests/bucket/test_local.py", "-k", "folder or local"]
code = pytest.main(["-q", "-n0", "--no-header", "--color=no", "-p", "no:cacheprovider", "--basetemp", folder, *tests])
sys.stdout.write(f"\nNFS {version}: the tests of a folder pass: {'NO' if code else 'yes'}\n")
