"""What an upgrade makes of a study that is over, and what other values make of a new one."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.cluster import Namespace, Release, conditions_of, run, until

pytestmark = pytest.mark.full

SPACE = """
import keras
import keras_tuner


class Tiny(keras_tuner.HyperModel):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def build(self, hp):
        model = keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                keras.layers.Dense(hp.Int("width", 4, 8), activation="relu"),
                keras.layers.Dense(self.classes, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model
"""


@pytest.fixture(scope="module")
def small(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study of one trial, which the tests of this module go on with, one after the other."""
    release = Release(namespace, "small", image)
    release.install(
        study={"search": {"max_trials": 1}, "training": {"epochs": 1}, "space": {"import": "tiny:Tiny"}},
        space={"code": {"tiny.py": SPACE}},
        workers={"replicas": 1},
    )
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_an_upgrade_while_the_evaluation_runs_leaves_it_alone(small: Release) -> None:
    until("the evaluation to begin", lambda: small.job("evaluator")["status"].get("active"))
    before = small.job("evaluator")["metadata"]["uid"]
    small.upgrade(workers__replicas=2)
    assert small.job("evaluator")["metadata"]["uid"] == before
    assert not small.job("evaluator")["spec"]["suspend"]
    small.await_evaluation()


def test_a_space_of_ones_own_came_in_a_configmap(small: Release) -> None:
    (trial,) = small.trials()
    assert set(trial["hyperparameters"]) == {"width"}


def test_more_trials_go_on_with_a_study_that_is_over_and_evaluate_it_again(small: Release) -> None:
    small.upgrade(study__search__max_trials=3)
    until("more trials", lambda: len(small.trials()) == 3)
    small.await_evaluation()
    assert {trial["state"] for trial in small.trials()} <= {"COMPLETED", "STOPPED"}


def test_a_change_that_makes_trials_incomparable_is_refused_by_the_chief(small: Release) -> None:
    before = small.trials()
    small.upgrade(study__data={"batch_size": 64})
    until("the chief's refusal", lambda: "error:" in small.logs("chief"))
    said = small.logs("chief")
    assert "has begun with other settings: data.batch_size was 128, is now 64" in said
    assert small.trials() == before


def test_a_worker_that_must_have_a_gpu_and_finds_none_ends_its_job(
    release: Callable[[str], Release],
) -> None:
    strict = release("strict")
    strict.install(study={"search": {"max_trials": 1}, "training": {"epochs": 1}}, workers={"requireGPU": True})
    failed = until("the Job to fail", lambda: conditions_of(strict.job("worker")).get("Failed"))
    assert "exit code 2" in failed
    assert "1 GPU asked for, and tensorflow finds none" in strict.logs("worker")
