"""CIFAKE itself, a cut: packed on the cluster through the release's bucket, searched, evaluated on its test images."""

import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s.cluster.client import connect
from k8s.release.release import load
from tests.e2e.cluster import Namespace, Release, run, until
from tuner.cli.release import open_release_bucket

CIFAKE = Path(os.environ.get("CIFAKE_DIR", "../shared/cifake"))
TRAIN, TEST = 2000, 400
"""Images of each class."""
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not (CIFAKE / "unpack").exists(), reason="needs ../shared/cifake, or CIFAKE_DIR"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of each class, as the public download has them."""
    folder = tmp_path_factory.mktemp("cifake")
    whole = folder / "whole.zip"
    subprocess.run([sys.executable, CIFAKE / "unpack", whole, "--per-class", str(TRAIN)], check=True)
    cut = folder / "cifake.zip"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        taken: dict[str, int] = {}
        for name in source.namelist():
            folder_of = name.rpartition("/")[0]
            taken[folder_of] = taken.get(folder_of, 0) + 1
            if taken[folder_of] <= (TRAIN if name.startswith("train/") else TEST):
                target.writestr(name, source.read(name))
    return cut


@pytest.fixture(scope="module")
def evaluated(namespace: Namespace, image: str, archive: Path) -> Iterator[Release]:
    """The bucket comes with the release: so it begins with the sample, and goes on with the archive put into it."""
    release = Release(namespace, "cifake-tune", image)
    release.install(study={"name": "sample"}, workers__gpus=0)
    until("the bucket", lambda: release.running("bucket"))
    with open_release_bucket(load(connect(namespace.name, None), release.name)) as bucket:
        bucket.upload("cifake.zip", archive)
    release.upgrade(
        study={
            "name": "cifake",
            "data": {"source": "gs://cifake-tune/cifake.zip"},
            "search": {"max_trials": 4},
            "training": {"epochs": 4},
        }
    )
    release.await_evaluation()
    yield release
    run("helm", "uninstall", release.name, "-n", namespace.name)


def test_it_was_packed_on_the_cluster_and_searched(evaluated: Release) -> None:
    output = evaluated.logs("data")
    for name in ("FAKE", "REAL"):
        assert re.search(rf" {name} +{TRAIN:,} +{TEST:,}", output)
    trials = json.loads(evaluated.ask("trials", "--json", "--study", "cifake"))
    assert {trial["state"] for trial in trials} <= {"COMPLETED", "STOPPED"}
    assert len(trials) == 4


def test_the_best_model_tells_its_test_images_apart(evaluated: Release, archive: Path) -> None:
    with open_release_bucket(load(connect(evaluated.namespace.name, None), evaluated.name)) as bucket:
        metrics = json.loads(bucket.read("studies/cifake/evaluation/metrics.json"))
        predictions = gzip.decompress(bucket.read("studies/cifake/evaluation/predictions.csv.gz")).decode()
    assert metrics["images"] == 2 * TEST
    assert metrics["classes"] == ["FAKE", "REAL"]
    assert sum(map(sum, metrics["confusion_matrix"])) == 2 * TEST
    low, high = metrics["accuracy_interval_95"]
    assert low <= metrics["accuracy"] <= high
    assert metrics["accuracy"] > 0.7, "half of them are right by chance"
    with zipfile.ZipFile(archive) as packed:
        names = {name.removeprefix("test/") for name in packed.namelist() if name.startswith("test/")}
    assert {line.split(",")[0] for line in predictions.splitlines()[1:]} == names
