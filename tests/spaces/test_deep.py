"""The space `deep`: its networks at both ends, their training, and that they are saved and resumed whole."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.integration.support import JAX_ENVIRONMENT
from tests.spaces.deep_trials import DATA, SHAKEN, SIDE, Saving, hyperparameters, trained, weights
from tuner.evaluation import saved_model
from tuner.spaces import precision
from tuner.spaces.deep import DeepSpace
from tuner.spaces.exploration import explore
from tuner.spaces.layers.one_cycle import OneCycle
from tuner.spaces.layers.random_shift import RandomShift

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("width", "blocks", "classes"), [(16, 1, 2), (16, 4, 5), (192, 4, 2)])
def test_the_smallest_and_the_largest_network_answer_with_probabilities(width: int, blocks: int, classes: int) -> None:
    model = DeepSpace((SIDE, SIDE, 3), classes).build(hyperparameters(width=width, blocks=blocks, **SHAKEN))
    images = DATA.train.images[:2]
    outputs = saved_model.predict(model, images, 2)
    assert outputs.shape == (2, 1 if classes == 2 else classes)
    saved_model.class_probabilities(outputs, classes)  # raises where they are none
    np.testing.assert_array_equal(outputs, saved_model.predict(model, images, 2))  # nothing random when predicting


def test_it_has_hyperparameters_that_a_study_can_set() -> None:
    assert {hp.name for hp in explore(DeepSpace()).space} == {
        *("width", "blocks", "flip", "shift", "cutout", "mixing", "label_smoothing"),
        *("optimizer", "learning_rate", "weight_decay", "average"),
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Saving:
    """Three epochs with all that is random, and averaged weights."""
    return trained(tmp_path_factory.mktemp("whole"), average=0.9, **SHAKEN)


def test_an_interrupted_trial_goes_on_as_if_it_had_not_been(whole: Saving, tmp_path: Path) -> None:
    shutil.copy(whole.file(0), tmp_path)
    resumed = trained(tmp_path, first_epoch=1, average=0.9, **SHAKEN)
    assert resumed.epochs == {epoch: whole.epochs[epoch] for epoch in (1, 2)}
    for one, other in zip(weights(whole.file(2)), weights(resumed.file(2)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_saved_is_the_averaged_model_that_was_validated(whole: Saving) -> None:
    for epoch, metrics in whole.epochs.items():
        model = saved_model.load_model(whole.file(epoch), "here")
        right = (saved_model.predict(model, DATA.validation.images, 60)[:, 0] > 0.5) == DATA.validation.labels
        assert right.mean() == pytest.approx(metrics["val_accuracy"], abs=1e-6)


def test_an_averaged_model_does_not_guess_though_its_weights_are_far_from_those_trained(tmp_path: Path) -> None:
    """With the statistics of the weights that were trained, it says the same of all images after this epoch."""
    assert trained(tmp_path, epochs=2, average=0.9).epochs[0]["val_accuracy"] > 0.8


def test_a_trial_learns_with_sgd_too(tmp_path: Path) -> None:
    done = trained(tmp_path, epochs=4, optimizer="sgd", average=0.0)
    assert done.epochs[3]["val_accuracy"] > 0.9


def test_plain_keras_loads_what_is_saved_for_prediction_and_predicts_the_same(whole: Saving, tmp_path: Path) -> None:
    model = saved_model.load_model(whole.file(2), "here")
    saved_model.save_for_prediction(model, tmp_path / "best.keras")
    np.save(tmp_path / "images.npy", DATA.validation.images)
    program = (
        "import keras, numpy, sys\n"
        "model = keras.saving.load_model('best.keras')\n"
        "numpy.save('there.npy', model.predict_on_batch(numpy.load('images.npy').astype('float32')))\n"
        "assert 'tuner' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program]
    done_there = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done_there.returncode == 0, done_there.stderr[-2000:]
    predictions = saved_model.predict(model, DATA.validation.images, 60)
    np.testing.assert_array_equal(np.load(tmp_path / "there.npy"), predictions)


def test_the_learning_rate_rises_and_falls_once_and_knows_its_end_from_epochs_and_batches(whole: Saving) -> None:
    schedule = OneCycle(0.1, steps=50, warm_up=0.2)
    rates = np.array([float(schedule(step)) for step in range(60)])
    assert rates.argmax() == 9
    assert rates.max() == pytest.approx(0.1)
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[9:50]) < 0).all()
    assert rates[49:] == pytest.approx(0, abs=1e-9)
    loaded_schedule = keras.saving.load_model(whole.file(0)).optimizer._learning_rate
    assert loaded_schedule.get_config() == {"peak": 0.004, "steps": 3 * 240 // 20, "warm_up": 0.2}


def test_a_shift_moves_every_image_by_whole_pixels_and_mirrors_the_edge() -> None:
    images = DATA.train.images[:40].astype(np.float32)
    moved = keras.ops.convert_to_numpy(RandomShift(2)(images, training=True))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    places = [(row, column) for row in range(5) for column in range(5)]
    shifts = [
        [place for place in places if np.array_equal(one, window[place[0] :, place[1] :][:SIDE, :SIDE])]
        for one, window in zip(moved, padded, strict=True)
    ]
    assert all(len(matches) == 1 for matches in shifts)
    assert len({matches[0] for matches in shifts}) > 10
    np.testing.assert_array_equal(RandomShift(2)(images, training=False), images)


def test_bfloat16_is_used_where_the_processor_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, policy in (("fpu amx_bf16 amx_tile", "mixed_bfloat16"), ("fpu avx512f", "float32")):
        (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
        monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
        assert precision.fastest_precision() == policy


def test_all_this_holds_with_jax_too(tmp_path: Path, jax_python: Path) -> None:
    program = [str(jax_python), "-m", "tests.spaces.with_jax", str(tmp_path)]
    environment = {**os.environ, **JAX_ENVIRONMENT, "KERAS_BACKEND": "jax"}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
