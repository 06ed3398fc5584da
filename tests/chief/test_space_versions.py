"""A study of large images that was begun with other networks of a built-in space is not continued."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner import names
from tuner.address import Address
from tuner.bucket.local import LocalBucket
from tuner.chief import run
from tuner.chief.context import ChiefContext
from tuner.chief.monitor import ChiefMonitor
from tuner.cli.early_checks import check_continues
from tuner.config.loading import Loaded, load
from tuner.config.space_settings import Space
from tuner.data.pack import pack
from tuner.errors import ExitCode, UsageError
from tuner.monitoring.catalogue import Role
from tuner.monitoring.endpoint import Monitor
from tuner.spaces.versions import FIRST, REDUCING, space_version
from tuner.study.compatibility import check_unchanged
from tuner.study.journal import encode, read_study
from tuner.study.records import Finished, Opened, Record

STUDY = load(settings=["space.name=seed"])
REFUSAL = "space 'seed' has other networks for images of this size. Choose another `name`"


def packed(folder: Path, side: int) -> tuple[LocalBucket, str]:
    """Pack four random images of a size."""
    noise = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("FAKE", "REAL"):
            place = folder / "images" / split / name
            place.mkdir(parents=True)
            for number in range(4):
                pixels = noise.integers(0, 256, (side, side, 3), np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    bucket = LocalBucket(folder / "bucket")
    return bucket, pack(str(folder / "images"), bucket).digest


def begun(bucket: LocalBucket, digest: str, *later: Record) -> None:
    """Begin a study with a record that has no version, as version 0.1.0 does."""
    opened = Opened(at=0, term=1, writer="w", study=STUDY, data=digest, direction="max")
    bucket.create(names.journal_segment(STUDY.name, 1), encode(1, "w", [opened, *later]))


def chief(bucket: LocalBucket, digest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a chief up to its search."""
    monkeypatch.setattr(run, "_search", lambda *_: None)
    monitor = ChiefMonitor(bucket, STUDY.name, Monitor(Role.CHIEF))
    run._run(ChiefContext(bucket, STUDY, digest, Address("127.0.0.1", 0), None, None, monitor))


@pytest.mark.parametrize(("side", "version"), [(32, FIRST), (47, FIRST), (49, REDUCING), (224, REDUCING)])
def test_the_networks_differ_for_large_images_only(side: int, version: int) -> None:
    assert space_version(STUDY.space, (side, side, 3)) == version
    assert space_version(Space.model_validate({"import": "a:b"}), (side, side, 3)) == FIRST


def test_a_study_of_large_images_of_an_earlier_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, digest = packed(tmp_path, 64)
    begun(bucket, digest)
    for check in (lambda: chief(bucket, digest, monkeypatch), lambda: check_continues(bucket, Loaded(STUDY, {}), None)):
        with pytest.raises(UsageError) as caught:
            check()
        assert REFUSAL in str(caught.value)
        assert caught.value.exit_code == ExitCode.USAGE
    assert read_study(bucket, STUDY.name).term == 1


def test_one_of_this_version_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, digest = packed(tmp_path, 64)
    for term in (1, 2):
        chief(bucket, digest, monkeypatch)
        state = read_study(bucket, STUDY.name)
        assert (state.term, state.space_version) == (term, REDUCING)
    check_continues(bucket, Loaded(STUDY, {}), digest)


def test_one_of_small_images_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, digest = packed(tmp_path, 32)
    begun(bucket, digest)
    check_continues(bucket, Loaded(STUDY, {}), digest)
    chief(bucket, digest, monkeypatch)
    assert read_study(bucket, STUDY.name).term == 2


def test_one_that_has_finished_is_refused_more_trials_only(tmp_path: Path) -> None:
    bucket, digest = packed(tmp_path, 64)
    begun(bucket, digest, Finished(at=1, reason="all trials have ended"))
    state = read_study(bucket, STUDY.name)
    check_unchanged(state, STUDY, digest, REDUCING)
    with pytest.raises(UsageError, match="other networks"):
        check_unchanged(state, load(settings=["space.name=seed", "search.max_trials=99"]), digest, REDUCING)
