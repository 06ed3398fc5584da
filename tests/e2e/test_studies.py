"""What an upgrade makes of a study that is over, and what other values make of a new one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.cluster import FailedError, Namespace, Release, cifake_tune, conditions_of, run, until
from tests.e2e.nodes import build, needs_builder

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
    uid = small.job("evaluator")["metadata"]["uid"]
    small.upgrade(workers__replicas=2)
    assert small.job("evaluator")["metadata"]["uid"] == uid
    assert not small.job("evaluator")["spec"]["suspend"]
    small.await_evaluation()


def test_a_space_of_ones_own_came_in_a_configmap(small: Release) -> None:
    (trial,) = small.trials()
    assert set(trial["hyperparameters"]) == {"width"}


def test_its_report_and_its_models_answers_are_had_from_outside(small: Release, tmp_path: Path) -> None:
    where = ("--release", small.name, "--namespace", small.namespace.name)
    code, output = cifake_tune("report", *where, "--out", str(tmp_path / "report.html"))
    assert code == 0, output
    assert small.image in (tmp_path / "report.html").read_text(), "the evaluator knows its image"
    Image.new("RGB", (32, 32), "grey").save(tmp_path / "grey.png")
    code, output = cifake_tune("predict", str(tmp_path / "grey.png"), *where)
    assert code == 0, output
    assert " %" in output


def test_more_trials_go_on_with_a_study_that_is_over_and_evaluate_it_again(small: Release) -> None:
    small.upgrade(study__search__max_trials=3)
    until("more trials", lambda: len(small.trials()) == 3)
    small.await_evaluation()
    assert {trial["state"] for trial in small.trials()} <= {"COMPLETED", "STOPPED"}


def test_a_change_that_makes_trials_incomparable_is_refused_by_the_chief(small: Release) -> None:
    trials = small.trials()
    with pytest.raises(FailedError, match="pre-upgrade hooks failed"):
        small.upgrade(study__data={"batch_size": 64})
    small.upgrade(upgradeCheck={"enabled": False})
    until("the chief's refusal", lambda: "error:" in small.logs("chief"))
    logs = small.logs("chief")
    assert "was started with other settings: data.batch_size was 128, is now 64" in logs
    assert small.trials() == trials


def test_a_worker_that_must_have_a_gpu_and_finds_none_ends_its_job(
    release: Callable[[str], Release],
) -> None:
    strict = release("strict")
    strict.install(study={"search": {"max_trials": 1}, "training": {"epochs": 1}}, workers={"requireGPU": True})
    failed = until("the Job to fail", lambda: conditions_of(strict.job("worker")).get("Failed"))
    assert "exit code 2" in failed
    assert "1 GPU requested, but tensorflow found none" in strict.logs("worker")


@needs_builder
def test_a_space_of_ones_own_comes_in_a_derived_image(
    release: Callable[[str], Release], image: str, tmp_path: Path
) -> None:
    (tmp_path / "my_space").mkdir()
    (tmp_path / "my_space" / "tiny.py").write_text(SPACE)
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY my_space /opt/my_space\n")
    derived = f"{image}-derived"
    build(derived, tmp_path)
    own = release("derived")
    own.image = derived
    own.install(
        study={
            "search": {"max_trials": 1},
            "training": {"epochs": 1},
            "space": {"import": "tiny:Tiny", "code": "/opt/my_space"},
        },
        workers={"replicas": 1},
    )
    own.await_evaluation()
    assert set(own.trials()[0]["hyperparameters"]) == {"width"}


@pytest.fixture
def no_storage_class() -> Iterator[None]:
    """A cluster without a default StorageClass, as `STORAGE=0` makes ours."""
    marked = "storageclass.kubernetes.io/is-default-class"
    classes = [
        storage_class
        for storage_class in Namespace("default").get("storageclass")
        if marked in storage_class["metadata"]["annotations"]
    ]
    for storage_class in classes:
        run("kubectl", "annotate", "storageclass", storage_class["metadata"]["name"], f"{marked}-")
    yield
    for storage_class in classes:
        run("kubectl", "annotate", "storageclass", storage_class["metadata"]["name"], f"{marked}=true")


def test_without_a_storage_class_a_study_runs_and_status_and_doctor_say_what_may_be_lost(
    namespace: Namespace, release: Callable[[str], Release], no_storage_class: None
) -> None:
    sentence = "is lost with its pod"
    volatile = release("volatile")
    volatile.install(study={"search": {"max_trials": 1}, "training": {"epochs": 1}}, workers={"replicas": 1})
    hint = 'the cluster has no default StorageClass: set bucket.emulator.storageClass to an existing class, or to "-"'
    assert hint in run("helm", "get", "notes", volatile.name, "-n", namespace.name)
    claim = f"{volatile.chart_name}-bucket"
    assert namespace.get("pvc", claim)["status"]["phase"] == "Pending"
    volatile.upgrade(bucket__emulator__storageClass="-")
    assert sentence in run("helm", "get", "notes", volatile.name, "-n", namespace.name)
    until("the bucket", lambda: volatile.running("bucket"))
    with pytest.raises(FailedError, match="would lose its study"):
        volatile.upgrade(bucket__emulator__storageClass="")
    volatile.values["bucket"]["emulator"]["storageClass"] = "-"
    where = ("--release", volatile.name, "--namespace", namespace.name)
    assert f"bucket: {sentence}, and so is the study" in cifake_tune("status", *where)[1]
    # both end with 3, and are retried, if the bucket was missing for a minute
    until("chief and worker", lambda: volatile.running("chief") and volatile.running("worker"))
    code, output = cifake_tune("doctor", *where, "--no-probe")
    assert code == 0
    assert f"the bucket {sentence}" in output
    repository, _, tag = volatile.image.rpartition(":")
    settings = (f"image.repository={repository}", f"image.tag={tag}", "bucket.emulator.storageClass=-")
    flags = [word for setting in settings for word in ("--set", setting)]
    assert sentence in cifake_tune("doctor", "--namespace", namespace.name, "--no-probe", *flags)[1]
    volatile.await_evaluation()
