"""The size of a checkpoint is estimated well, and whether it fits is found out on the disks themselves."""

from pathlib import Path

import keras
import keras_tuner
import pytest

from tests.support.disks import fill, small_disk
from tuner.errors import EnvironmentFailure
from tuner.spaces.checkpoint_size import checkpoint_size
from tuner.spaces.deep import DeepSpace
from tuner.spaces.model_size import space_size
from tuner.training import checkpoint
from tuner.worker.room import JOURNAL_BYTES, require_room

KIB = 1 << 10


def model(units: int, optimizer: str) -> keras.Model:
    new_model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(units),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    new_model.compile(optimizer, "sparse_categorical_crossentropy")
    return new_model


@pytest.mark.parametrize("units", [2, 1000])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_the_estimate_is_enough_and_close(tmp_path: Path, units: int, optimizer: str) -> None:
    needed = checkpoint_size(built := model(units, optimizer))
    checkpoint.save(built, checkpoint.CheckpointState(epoch=0, seed=1, history={}), file := tmp_path / "m.keras")
    assert needed is not None
    assert file.stat().st_size <= needed.total_bytes <= 1.1 * file.stat().st_size + 48 * KIB


def test_the_estimate_is_enough_for_a_model_of_many_small_layers(tmp_path: Path) -> None:
    needed = checkpoint_size(built := DeepSpace((32, 32, 3), 2).build(keras_tuner.HyperParameters()))
    checkpoint.save(built, checkpoint.CheckpointState(epoch=0, seed=1, history={}), file := tmp_path / "m.keras")
    assert needed is not None
    assert file.stat().st_size <= needed.total_bytes <= 1.1 * file.stat().st_size


def test_the_size_that_is_announced_before_the_first_trial_is_that_of_the_file(tmp_path: Path) -> None:
    class Tiny(keras_tuner.HyperModel):
        def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
            return model(hp.Int("units", 2, 200, default=2), "sgd")

    (hyperparameters := keras_tuner.HyperParameters()).Int("units", 2, 200, default=2)
    sizes = space_size(Tiny(), hyperparameters)
    assert sizes is not None
    assert sizes.largest is not None
    for announced, units in ((sizes.default, 2), (sizes.largest, 200)):
        checkpoint.save_model(model(units, "sgd"), file := tmp_path / f"{units}.keras")
        size = file.stat().st_size
        assert size <= announced.checkpoint_bytes <= 1.1 * size + 48 * KIB


def test_nothing_is_claimed_of_a_model_that_is_not_built_yet() -> None:
    assert checkpoint_size(keras.Sequential([keras.layers.Dense(2)])) is None


def test_the_message_names_the_folder_what_is_needed_what_is_free_and_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        require_room(1000 * KIB, disk, "gs://bucket")
        with pytest.raises(EnvironmentFailure, match=rf"3\.0 MiB are needed in the folder {disk} .*2\.0 MiB are free"):
            require_room(3072 * KIB, disk, "gs://bucket")
        with pytest.raises(EnvironmentFailure, match="set TMPDIR"):
            require_room(3072 * KIB, disk, str(tmp_path))


def test_a_bucket_that_is_a_folder_keeps_room_for_the_journal(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        bucket = disk / "not" / "made yet"
        require_room(2048 * KIB - JOURNAL_BYTES, tmp_path, str(bucket))
        with pytest.raises(EnvironmentFailure, match=f"the bucket {bucket}, and 2.0 MiB are free"):
            require_room(2048 * KIB - JOURNAL_BYTES + 1, tmp_path, str(bucket))


def test_a_disk_that_has_both_the_bucket_and_the_temporary_files_needs_room_for_two(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        (disk / "tmp").mkdir()
        require_room(700 * KIB, disk / "tmp", str(disk / "bucket"))
        with pytest.raises(EnvironmentFailure, match="the bucket"):
            require_room(800 * KIB, disk / "tmp", str(disk / "bucket"))


def test_a_checkpoint_that_could_not_be_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    state = checkpoint.CheckpointState(epoch=0, seed=1, history={})
    with small_disk(tmp_path / "disk", 64) as disk:
        with pytest.raises(EnvironmentFailure, match="No space left"):
            checkpoint.save(model(1000, "adam"), state, disk / "m.keras")
        assert list(disk.iterdir()) == []
        fill(disk)
        with pytest.raises(EnvironmentFailure, match="No space left"):
            checkpoint.save(model(2, "adam"), state, disk / "m.keras")
        assert [path.name for path in disk.iterdir()] == ["ballast"]
