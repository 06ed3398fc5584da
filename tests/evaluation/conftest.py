"""Fixtures of the evaluator's tests.

A study is packed, and evaluated, once for all tests that want the same one. Each test gets a copy, which it may change.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.evaluation.studies import CLASSES, STUDY, Night, brightness_model, pack_images
from tests.support.evaluations import evaluate
from tuner.bucket.local import LocalBucket
from tuner.config.settings import Study
from tuner.evaluation.result import Metrics


@dataclass(frozen=True)
class Evaluated:
    """A study and what its evaluation returned."""

    night: Night
    metrics: Metrics


def begun_study(folder: Path) -> Night:
    """Begin a study in the folder, without a trial."""
    bucket = LocalBucket(folder / "bucket")
    begun = Night(bucket, pack_images(bucket, folder / "images", CLASSES), Study(name=STUDY))
    begun.open()
    return begun


def copy_of(night: Night, folder: Path) -> Night:
    """Return the study in a bucket of its own; the images that it was made of are shared."""
    source = Path(night.bucket.url)
    shutil.copytree(source, folder / "bucket")
    (folder / "images").symlink_to(source.parent / "images")
    return replace(night, bucket=LocalBucket(folder / "bucket"))


@pytest.fixture(scope="session")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return begun_study(tmp_path_factory.mktemp("begun"))


@pytest.fixture(scope="session")
def evaluated_once(begun_once: Night, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluated")
    night = copy_of(begun_once, folder)
    night.trial("0", 0.8, brightness_model(folder / "m.keras"))
    night.finish()
    return Evaluated(night, evaluate(night.bucket, STUDY, folder / "cache"))


@pytest.fixture
def night(begun_once: Night, tmp_path: Path) -> Night:
    """A study that has begun, without a trial."""
    return copy_of(begun_once, tmp_path)


@pytest.fixture
def evaluated(evaluated_once: Evaluated, tmp_path: Path) -> Evaluated:
    """A study of one trial, whose model looks at the brightness, with its evaluation."""
    return replace(evaluated_once, night=copy_of(evaluated_once.night, tmp_path))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
