"""Fixtures of the evaluator's tests."""

from pathlib import Path

import pytest

from tests.evaluation.studies import CLASSES, STUDY, Night, pack_images
from tuner.bucket.local import LocalBucket
from tuner.config.settings import Study


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """A study that has begun, without a trial."""
    bucket = LocalBucket(tmp_path / "bucket")
    begun = Night(bucket, pack_images(bucket, tmp_path / "images", CLASSES), Study(name=STUDY))
    begun.open()
    return begun


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
