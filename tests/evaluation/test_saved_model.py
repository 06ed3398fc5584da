"""Real .keras files: loaded safely, stripped, and read as probabilities."""

import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.integration.support import FASTEST_BACKEND, JAX_ENVIRONMENT, python_with
from tuner.errors import BucketError, SpaceError
from tuner.evaluation import saved_model
from tuner.spaces.layers.random_shift import RandomShift

SHAPE = (4, 4, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (10, *SHAPE), dtype=np.uint8)


def classifier(last: Any, *layers: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), *layers, last]
    )
    model.compile("adam", "binary_crossentropy" if last.units == 1 else "sparse_categorical_crossentropy")
    return model


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def test_a_model_is_loaded_and_answers_as_before(tmp_path: Path) -> None:
    model = classifier(keras.layers.Dense(1, activation="sigmoid"))
    loaded = saved_model.load_model(saved(model, tmp_path / "m.keras"), "m")
    progress: list[tuple[int, int]] = []
    outputs = saved_model.predict(loaded, PIXELS, 4, lambda done, images: progress.append((done, images)))
    np.testing.assert_allclose(outputs, model.predict(PIXELS.astype("float32"), verbose=0), rtol=1e-5)
    assert outputs.dtype == np.float32
    assert progress == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.slow
def test_the_stripped_model_is_smaller_and_plain_keras_predicts_the_same(tmp_path: Path) -> None:
    model = classifier(keras.layers.Dense(2, activation="softmax"), keras.layers.Dense(200))
    model.fit(PIXELS.astype("float32"), np.arange(10) % 2, verbose=0)
    original = saved(model, tmp_path / "m.keras")
    after = tmp_path / "best_model.keras"
    saved_model.save_for_prediction(saved_model.load_model(original, "m"), after)
    assert after.stat().st_size < original.stat().st_size / 2

    np.save(tmp_path / "x.npy", PIXELS)
    script = (
        "import sys, numpy as np, keras\n"
        "model = keras.saving.load_model('best_model.keras', safe_mode=True)\n"
        "np.save('y.npy', model.predict(np.load('x.npy').astype('float32'), verbose=0))\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'tuner']\n"
    )
    subprocess.run(
        [python_with(FASTEST_BACKEND), "-I", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": FASTEST_BACKEND, **JAX_ENVIRONMENT},
        check=True,
        capture_output=True,
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), model.predict(PIXELS.astype("float32"), verbose=0), rtol=1e-5
    )


def in_a_row() -> Any:
    last = keras.layers.Dense(1, activation="sigmoid")
    return keras.Sequential([keras.Input(SHAPE), RandomShift(1), keras.layers.Flatten(), last])


def nested() -> Any:
    inputs = keras.Input(SHAPE)
    inner = keras.Sequential([keras.Input(SHAPE), RandomShift(1), keras.layers.BatchNormalization()])
    last = keras.layers.Dense(1, activation="sigmoid")
    return keras.Model(inputs, last(keras.layers.Flatten()(inner(inputs))))


@keras.saving.register_keras_serializable("test_saved_model")
class Subclassed(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shift = RandomShift(1)
        self.last = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")])

    def call(self, images: Any, training: bool = False) -> Any:
        return self.last(self.shift(images, training=training))


@pytest.mark.parametrize("build", [in_a_row, nested, Subclassed])
def test_layers_for_training_are_exchanged_wherever_keras_can(build: Any, tmp_path: Path) -> None:
    model = build()
    expected = saved_model.predict(model, PIXELS, 5)
    saved_model.save_for_prediction(model, tmp_path / "best.keras")
    loaded = saved_model.load_model(tmp_path / "best.keras", "m")
    np.testing.assert_array_equal(saved_model.predict(loaded, PIXELS, 5), expected)
    left = [layer for layer in loaded._flatten_layers() if isinstance(layer, RandomShift)]
    assert bool(left) == (build is Subclassed)


def test_python_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    model = classifier(keras.layers.Dense(1, activation="sigmoid"), keras.layers.Lambda(lambda x: x * 2))
    path = saved(model, tmp_path / "m.keras")
    with pytest.raises(SpaceError, match=r"Lambda.*register_keras_serializable"):
        saved_model.load_model(path, "trial 3")


def test_a_class_that_nobody_registered_is_a_sentence(tmp_path: Path) -> None:
    unregistered = type("Unregistered", (keras.layers.Layer,), {"__module__": "__main__", "call": lambda self, x: x})
    path = saved(keras.Sequential([keras.Input((4, 4, 3)), unregistered()]), tmp_path / "m.keras")
    with pytest.raises(SpaceError, match=r"trial 3: .*@keras.saving.register_keras_serializable.*Unregistered"):
        saved_model.load_model(path, "trial 3")


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def test_a_registered_class_is_found(tmp_path: Path) -> None:
    path = saved(classifier(keras.layers.Dense(1, activation="sigmoid"), Doubled()), tmp_path / "m.keras")
    assert any(isinstance(layer, Doubled) for layer in saved_model.load_model(path, "m").layers)


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_damaged_file_is_the_buckets_fault(tmp_path: Path, keep: int) -> None:
    path = saved(classifier(keras.layers.Dense(1, activation="sigmoid")), tmp_path / "m.keras")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BucketError, match="damaged"):
        saved_model.load_model(path, "trial 3")


def test_a_flipped_byte_is_damage_and_no_fault_of_the_users_layers(tmp_path: Path) -> None:
    path = saved(classifier(keras.layers.Dense(1, activation="sigmoid")), tmp_path / "m.keras")
    with zipfile.ZipFile(path) as archive:
        places = {
            name: archive.getinfo(name).header_offset + 30 + len(name) + archive.getinfo(name).compress_size // 2
            for name in ("config.json", "model.weights.h5")
        }
    intact = path.read_bytes()
    for place in places.values():
        data = bytearray(intact)
        data[place] ^= 0xFF
        path.write_bytes(data)
        with pytest.raises(BucketError, match="the saved model is damaged"):
            saved_model.load_model(path, "trial 3")


def test_a_configuration_that_is_no_json_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
    with pytest.raises(BucketError, match=r"the saved model is damaged \(config.json is not JSON\)"):
        saved_model.load_model(path, "trial 3")


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(BucketError, match="damaged"):
        saved_model.load_model(tmp_path / "m.keras", "trial 3")


def test_one_sigmoid_is_the_second_classs_probability() -> None:
    probabilities = saved_model.class_probabilities(np.array([[0.25], [1e-12]], np.float32), 2)
    np.testing.assert_array_equal(probabilities[0], [0.75, 0.25])
    assert probabilities[1, 1] == np.float32(1e-12)
    assert probabilities[1, 0] < 1, "float64: small probabilities stay apart"


@pytest.mark.parametrize(
    ("outputs", "classes", "sentence"),
    [
        ([[0.5]], 3, "1 outputs.*3 classes"),
        ([[0.2, 0.3, 0.5]], 2, "3 outputs.*2 classes.*1 \\(sigmoid\\) or 2 \\(softmax\\)"),
        ([[0.5], [np.nan]], 2, "NaN"),
        ([[-3.0], [4.5]], 2, "not probabilities \\(from -3 to 4.5\\).*from_logits"),
        ([[0.9, 0.8]], 2, "sum to 1"),
    ],
)
def test_what_is_no_probability_is_a_sentence(outputs: Any, classes: int, sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence):
        saved_model.class_probabilities(np.array(outputs, np.float32), classes)


def test_an_output_that_is_an_image_is_a_sentence() -> None:
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(1, 1)])
    with pytest.raises(SpaceError, match=r"shape \(10, 4, 4, 1\)"):
        saved_model.predict(model, PIXELS, 10)
