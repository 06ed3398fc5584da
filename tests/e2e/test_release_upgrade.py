"""A release of 0.1.0 is upgraded to this version while it searches, and rolled back; it loses no trial and no epoch."""

import os
import tarfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.conftest import HERE
from tests.e2e.cluster import CHART, Namespace, Release, until

EARLIER_IMAGE = os.environ.get("CIFAKE_TUNE_E2E_EARLIER_IMAGE")
"""Image of release 0.1.0."""
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not EARLIER_IMAGE, reason="CIFAKE_TUNE_E2E_EARLIER_IMAGE names no image of release 0.1.0"),
]

TRIALS, EPOCHS = 5, 8
SMALL = {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}}
STUDY: dict[str, Any] = {
    "search": {"max_trials": TRIALS, "early_stopping": {"policy": "none"}, "algorithm": "random"},
    "training": {"epochs": EPOCHS},
    "data": {"batch_size": 16},
    "space": {"values": {"filters": 20, "units_1": 100, "units_2": 100}},
    "leases": {"duration_s": 6.0},
}
Epochs = dict[str, tuple[dict[str, Any], int]]


def epochs_of(release: Release) -> Epochs:
    """Return the hyperparameters and the number of epochs of each trial."""
    return {trial["trial_id"]: (trial["hyperparameters"], trial["epochs"]) for trial in release.trials()}


def assert_nothing_is_lost(before: Epochs, after: Epochs) -> None:
    for trial_id, (hyperparameters, epochs) in before.items():
        assert after[trial_id][0] == hyperparameters
        assert after[trial_id][1] >= epochs


def await_chief(release: Release, terms: int, image: str) -> None:
    """Wait until a chief of this image serves, and a worker of it trains."""

    def has_taken_over() -> bool:
        pods = release.running("worker")
        images = {pod["spec"]["containers"][0]["image"] for pod in pods}
        return images == {image} and release.status()["chiefs"] >= terms and bool(release.at_work())

    until(f"a chief of {image}", has_taken_over)


def await_more_epochs(release: Release) -> None:
    total = release.epochs()
    until("more epochs", lambda: release.epochs() >= total + 2)


@pytest.fixture
def earlier_chart(tmp_path: Path) -> Path:
    with tarfile.open(HERE / "release-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "charts"


def test_an_upgrade_from_the_earlier_release_and_a_rollback_lose_nothing(
    namespace: Namespace, release: Callable[[str], Release], image: str, earlier_chart: Path
) -> None:
    old = release("old")
    assert EARLIER_IMAGE is not None
    old.image, old.chart = EARLIER_IMAGE, earlier_chart
    old.install(study=STUDY, workers={"replicas": 1, "gpus": 0, **SMALL}, chief=SMALL)
    until("the first trial", lambda: old.epochs() > EPOCHS)
    seen = [epochs_of(old)]
    claims = {claim["metadata"]["uid"] for claim in namespace.get("pvc")}

    old.image, old.chart = image, CHART
    old.upgrade()
    await_chief(old, 2, image)
    await_more_epochs(old)
    seen.append(epochs_of(old))

    old.rollback(1)
    await_chief(old, 3, EARLIER_IMAGE)
    await_more_epochs(old)
    seen.append(epochs_of(old))

    until("the end of the search", lambda: old.status()["state"] == "finished", 900.0)
    old.await_evaluation()
    seen.append(epochs_of(old))
    for before, after in pairwise(seen):
        assert_nothing_is_lost(before, after)
    trials = old.trials()
    assert [(trial["state"], trial["epochs"]) for trial in trials] == [("COMPLETED", EPOCHS)] * TRIALS
    assert max(trial["attempts"] for trial in trials) <= 3
    assert {claim["metadata"]["uid"] for claim in namespace.get("pvc")} == claims
