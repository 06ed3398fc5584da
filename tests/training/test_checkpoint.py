"""A checkpoint holds all that a trial needs to resume, in a file that Keras reads, and all damage is detected."""

import math
from pathlib import Path
from zipfile import ZipFile

import keras
import keras_tuner
import numpy as np
import pytest

from tests.integration.spaces.user_spaces import Tiny
from tuner.errors import EnvironmentFailure
from tuner.training.checkpoint import MEMBER, CheckpointState, DamagedCheckpointError, read_progress, save

PROGRESS = CheckpointState(epoch=1, seed=7, history={0: {"loss": 1.5, "val_auc": math.nan}, 1: {"loss": 1.25}})


@pytest.fixture(scope="module")
def model() -> keras.Model:
    built = Tiny((8, 8, 3), 2).build(keras_tuner.HyperParameters())
    built.optimizer.build(built.trainable_variables)
    return built


@pytest.fixture
def file(model: keras.Model, tmp_path: Path) -> Path:
    path = tmp_path / "model.keras"
    save(model, PROGRESS, path)
    return path


def test_what_was_saved_is_read(file: Path) -> None:
    assert read_progress(file).model_dump_json() == PROGRESS.model_dump_json()  # NaN, too
    assert math.isnan(read_progress(file).history[0]["val_auc"])


def test_keras_reads_model_and_weights_of_a_checkpoint(file: Path, model: keras.Model) -> None:
    loaded = keras.saving.load_model(file)
    other = Tiny((8, 8, 3), 2).build(keras_tuner.HyperParameters())
    other.load_weights(file)
    for restored in (loaded, other):
        for one, two in zip(restored.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_nothing_in_a_checkpoint_is_a_pickle(file: Path) -> None:
    with ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted([MEMBER, "config.json", "metadata.json", "model.weights.h5"])


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_seen(file: Path, where: float) -> None:
    data = bytearray(file.read_bytes())
    data[int(len(data) * where)] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedCheckpointError):
        read_progress(file)


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_a_truncated_file_is_seen(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DamagedCheckpointError):
        read_progress(file)


def test_a_model_of_plain_keras_is_no_checkpoint(model: keras.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "plain.keras")
    with pytest.raises(DamagedCheckpointError, match=f"no {MEMBER}"):
        read_progress(tmp_path / "plain.keras")


def test_a_disk_that_refuses_is_the_surroundings_failure(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailure, match="cannot be saved"):
        save(model, PROGRESS, tmp_path / "no such folder" / "model.keras")
