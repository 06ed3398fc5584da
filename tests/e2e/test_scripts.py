"""A Keras Tuner script runs unchanged in the pods of a release, although a worker's pod is deleted."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Namespace, Release, run, until

SCRIPT = """
import argparse

import keras
import keras_tuner
import numpy as np
from helpers import target

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
x = np.random.default_rng(0).normal(size=(512, 4)).astype("float32")
y = target(x)


def build_model(hp):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Int("units", 2, 16)), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


tuner = keras_tuner.RandomSearch(build_model, keras_tuner.Objective("val_mae", "min"), max_trials=4, seed=1)
epochs = parser.parse_args().epochs
tuner.search(x[:384], y[:384], validation_data=(x[384:448], y[384:448]), epochs=epochs, batch_size=8, verbose=0)
print("test", tuner.get_best_models()[0].evaluate(x[448:], y[448:], verbose=0))
"""
HELPERS = "def target(x):\n    return x.sum(axis=1)\n"
EPOCHS = 30


@pytest.fixture(scope="module")
def scripted(namespace: Namespace, image: str) -> Iterator[Release]:
    """A release that runs a script, one of whose workers' pods was deleted in the middle of a trial."""
    release = Release(namespace, "scripted", image)
    release.install(
        script={"code": {"tune.py": SCRIPT, "helpers.py": HELPERS}, "run": "tune.py", "args": ["--epochs", EPOCHS]},
        workers={"replicas": 2},
    )
    until("the first epochs", lambda: release.epochs() > 2)
    namespace.kubectl("delete", "pod", release.running("worker")[0]["metadata"]["name"], "--wait=false")
    release.await_evaluation()
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_all_trials_of_a_script_end_with_a_score(scripted: Release) -> None:
    trials = scripted.trials()
    assert [set(trial["hyperparameters"]) for trial in trials] == [{"units"}] * 4
    assert {trial["state"] for trial in trials} <= {"COMPLETED", "STOPPED"}


def test_the_evaluation_is_what_the_script_does_after_its_search(scripted: Release) -> None:
    assert "test [" in scripted.logs("evaluator")
