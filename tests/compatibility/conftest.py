"""The studies of this folder, unpacked."""

import tarfile
from pathlib import Path

import pytest

from tuner.bucket.local import LocalBucket

HERE = Path(__file__).parent
STUDY = "compatible"


def unpack(name: str, folder: Path) -> Path:
    """Unpack `finished` or `unfinished`, and return the folder."""
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of the finished study: bucket, images and space. Not to be changed."""
    return unpack("finished", tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def finished(finished_folder: Path) -> LocalBucket:
    """The bucket of the finished study. Not to be changed."""
    return LocalBucket(finished_folder / "bucket")


@pytest.fixture
def copy_of_finished(tmp_path: Path) -> LocalBucket:
    """A bucket with the finished study, to be changed."""
    return LocalBucket(unpack("finished", tmp_path / "finished") / "bucket")


@pytest.fixture
def unfinished(tmp_path: Path) -> LocalBucket:
    """The bucket of the unfinished study."""
    return LocalBucket(unpack("unfinished", tmp_path / "unfinished") / "bucket")
