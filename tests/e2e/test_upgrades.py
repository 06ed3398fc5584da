"""Mistakes of operators that must not stop a healthy search, and workers that exceed their memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.cluster import FailedError, Namespace, Release, conditions_of, run, until

pytestmark = pytest.mark.full

SMALL = {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}}
STUDY: dict[str, Any] = {
    "search": {"max_trials": 400, "early_stopping": {"policy": "none"}},
    "training": {"epochs": 4},
    "data": {"batch_size": 64},
    "leases": {"duration_s": 6.0},
}
GREEDY = """
import os

import keras
import keras_tuner
import numpy as np


class Greedy(keras_tuner.HyperModel):
    def build(self, hp):
        if os.environ["KERASTUNER_TUNER_ID"].startswith("worker"):
            self.memory = np.ones(4 << 30, np.uint8)
        width = hp.Int("width", 2, 4)
        model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(width)])
        model.add(keras.layers.Dense(1, activation="sigmoid"))
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model
"""


def conditions(release: Release, component: str) -> dict[str, str]:
    """Return the conditions of the newest Job of a component."""
    jobs = release.namespace.get("jobs", "-l", release.labels(component))
    return conditions_of(max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"])))


def await_failed(release: Release, component: str) -> str:
    return until(f"the {component}'s Job to end", lambda: conditions(release, component).get("Failed"), 120.0)


def uids(pods: list[Any]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}


@pytest.fixture(scope="module")
def night(namespace: Namespace, image: str) -> Iterator[Release]:
    release = Release(namespace, "night", image)
    release.install(study=STUDY, workers={"replicas": 1, "gpus": 0, **SMALL}, chief=SMALL)
    until("the first epoch", lambda: release.epochs() >= 1)
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ({"study__data__batch_size": 32}, ["study.data.batch_size is 64, and would become 32"]),
        ({"study__seed": 7}, ["study.seed is 1, and would become 7"]),  # the live study does not contain this setting
        ({"extraEnv": [{"name": "CIFAKE_TUNE_STUDY__SEED", "value": "7"}]}, ["pre-upgrade hooks failed"]),
    ],
)
def test_a_mistaken_upgrade_is_refused_before_anything_is_touched(
    night: Release, values: dict[str, Any], sentences: list[str]
) -> None:
    pods = uids(night.running("chief") + night.running("worker"))
    mistaken = Release(night.namespace, night.name, night.image, {**night.values, "study": {**STUDY}})
    mistaken.values["study"]["data"] = dict(STUDY["data"])
    with pytest.raises(FailedError) as refused:
        mistaken.upgrade(**values)
    assert [words for words in sentences if words not in str(refused.value)] == []
    assert uids(night.running("chief") + night.running("worker")) == pods
    if "hooks" in sentences[0]:
        log = night.namespace.kubectl("logs", f"job/{night.chart_name}-upgrade-check")
        assert "seed was 1, is now 7. Restore these settings" in log


def test_if_the_check_is_disabled_chief_and_workers_end_and_a_correct_upgrade_continues(night: Release) -> None:
    night.upgrade(study__seed=7, upgradeCheck={"enabled": False})
    assert "backoff limit" in await_failed(night, "chief")
    await_failed(night, "worker")
    assert "seed was 1, is now 7" in night.logs("chief")
    assert "does not start this chief again" in night.logs("chief")
    trials = night.trials()
    del night.values["study"]["seed"]
    night.upgrade(upgradeCheck={"enabled": True})
    until("the search to continue", lambda: night.status()["chiefs"] >= 2 and night.at_work())
    assert len(night.trials()) >= len(trials)


def test_two_releases_with_one_study_do_not_replace_each_other_for_ever(
    night: Release, release: Callable[[str], Release]
) -> None:
    terms = night.status()["chiefs"]
    other = release("other")
    other.install(
        study={**night.values["study"], "name": "night"},
        workers={"replicas": 1, "gpus": 0, **SMALL},
        chief=SMALL,
        bucket={"url": "gs://cifake-tune"},
        extraEnv=[{"name": "STORAGE_EMULATOR_HOST", "value": f"http://{night.chart_name}-bucket:4443"}],
        networkPolicy={"enabled": False},
    )
    assert "backoff limit" in await_failed(night, "chief")
    log = night.logs("chief")
    assert f"the chief of the release 'other' in the namespace '{night.namespace.name}' has taken over" in log
    assert "Traceback" not in log
    await_failed(night, "worker")
    until("the other release to train", lambda: night.status()["chiefs"] == terms + 1 and night.at_work())
    (pod,) = [p for p in night.pods("chief") if p["status"]["phase"] == "Failed"]
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 5


def test_a_worker_killed_at_its_memory_limit_spends_the_retries_of_out_of_memory(
    release: Callable[[str], Release],
) -> None:
    greedy = release("greedy")
    greedy.install(
        space={"code": {"greedy.py": GREEDY}},
        study={
            "search": {"max_trials": 1},
            "training": {"epochs": 1},
            "retries": {"out_of_memory": 1},
            "space": {"import": "greedy:Greedy"},
            "leases": {"duration_s": 6.0},
        },
        workers={"replicas": 1, "gpus": 0, **SMALL},
        chief=SMALL,
    )
    (trial,) = until("the trial to fail", lambda: [t for t in greedy.trials() if t["state"] == "FAILED"])
    assert "exceeded its memory limit (OOMKilled)" in trial["reason"]
    assert trial["attempts"] == 2
