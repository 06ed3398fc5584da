"""A study whose space is in a `tuner.py` of the user, which every process finds beside the program's `tuner`."""

import json
from collections.abc import Iterator

import pytest

import tuner
from tests.integration.reproduce import assert_trains_again
from tests.integration.support import Done, Place, place, settings
from tuner import names

TUNER = """
import keras
import keras_tuner
from k8s import RATE
from helpers import dense


@keras.saving.register_keras_serializable()
class Scaled(keras.layers.Layer):
    def call(self, pixels):
        return pixels / 255


class MySpace(keras_tuner.HyperModel):
    def __init__(self, image_shape, classes):
        super().__init__()
        self.image_shape = image_shape
        self.classes = classes

    def build(self, hp):
        import helpers

        hp.Choice("units", [2, 4])
        layers = [keras.Input(self.image_shape), helpers.scaled(), keras.layers.GlobalAveragePooling2D()]
        model = keras.Sequential([*layers, dense(self.classes)])
        model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
"""
HELPERS = """
import keras


def dense(units):
    return keras.layers.Dense(units, activation="softmax")


def scaled():
    from tuner import Scaled

    return Scaled()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[tuple[Place, Done]]:
    folder = tmp_path_factory.mktemp("own")
    for name, text in {"tuner": TUNER, "helpers": HELPERS, "k8s": "RATE = 0.02\n"}.items():
        (folder / f"{name}.py").write_text(text)
    with place(folder, PYTHONPATH=".") as new_place:
        yield (
            new_place,
            new_place.do(
                *("run", "--data", two_colours),
                *settings(space__import_="tuner:MySpace", space__code=".", data__batch_size=16),
                *settings(search__max_trials=1, training__epochs=1, evaluation__robustness_images=0),
            ),
        )


def test_it_is_searched_and_evaluated(own: tuple[Place, Done]) -> None:
    place, done = own
    assert done.code == 0, done.err
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    assert metrics["classes"] == ["class-0", "class-1"]
    provenance = json.loads(place.bucket.read(names.evaluation(place.study, names.PROVENANCE_JSON)))
    assert provenance["code"]["space"] == "tuner:MySpace"


def test_the_program_runs_in_its_folder(own: tuple[Place, Done]) -> None:
    done = own[0].do("--version")
    assert (done.code, done.out) == (0, f"{tuner.__version__}\n")


def test_predict_loads_the_layers_of_the_users_modules(own: tuple[Place, Done], two_colours: str) -> None:
    done = own[0].do("predict", f"{two_colours}/test/class-0/0000.png", "--json")
    assert done.code == 0, done.err
    assert '"prediction"' in done.out


def test_its_best_trial_is_trained_again(own: tuple[Place, Done]) -> None:
    place, _ = own
    (place.folder / "again").mkdir()
    for name in ("tuner", "helpers", "k8s"):
        (place.folder / "again" / f"{name}.py").symlink_to(place.folder / f"{name}.py")
    assert_trains_again(place, workers=1)
