"""How bad data is refused."""

from pathlib import Path

import pytest

from tuner.bucket import Bucket
from tuner.data.manifest import find_data_sets
from tuner.data.pack import pack
from tuner.errors import DataError, ExitCode


def refused(source: Path, bucket: Bucket) -> str:
    """Return the sentence with which packing is refused; nothing may look packed then."""
    with pytest.raises(DataError) as caught:
        pack(str(source), bucket)
    assert caught.value.exit_code is ExitCode.USAGE
    assert find_data_sets(bucket) == []
    return str(caught.value)
