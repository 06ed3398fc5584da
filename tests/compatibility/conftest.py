"""The studies and the earlier release of this folder, unpacked."""

import tarfile
from pathlib import Path

import pytest

from tests.compatibility.earlier_release import EarlierRelease, unpack_release
from tuner.bucket.local import LocalBucket
from tuner.study.state import StudyState

HERE = Path(__file__).parent
STUDY = "compatible"


def unpack(name: str, folder: Path) -> Path:
    """Unpack `finished` or `unfinished`, and return the folder."""
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def results(state: StudyState) -> list[object]:
    """Return what each trial of a study became, in the order of their ends, without how often it was interrupted."""
    return [
        (
            trial.trial_id,
            trial.hyperparameters,
            trial.algorithm,
            trial.state,
            trial.score,
            trial.best_epoch,
            trial.rungs,
            trial.epochs,
        )
        for trial in map(state.trials.__getitem__, state.ended)
    ]


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


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> EarlierRelease:
    """Release 0.1.0."""
    return unpack_release(HERE / "release-0.1.0.tar.xz", tmp_path_factory.mktemp("earlier"))
