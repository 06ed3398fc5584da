"""Trains a study's best trial again in a process that has nothing but its provenance and the data, and compares."""

import csv
import gzip
import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.integration.support import RUN_S, Place, python_with
from tuner import names
from tuner.local.children import share_of_cores

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
SNIPPET = PAGE.partition("```python\n")[2].partition("```")[0]
"""How users are told to do it."""
AND_THEN = """
import json
from tuner.data.arrays import open_split
from tuner.data.manifest import read_manifest
from tuner.evaluation.saved_model import probabilities

manifest = read_manifest(bucket, provenance.data.digest)
test = open_split(bucket, manifest, "test", Path("cache"))
found = probabilities(reproduction.model, test.images, len(manifest.classes), 500)
print(json.dumps([reproduction.metrics, found.tolist()]))
"""


def assert_trains_again(place: Place, workers: int) -> None:
    """Train it again, with as many threads as each of so many workers had: the epochs' metrics must be the same."""
    origin = place.bucket.read(names.evaluation(place.study, names.PROVENANCE_JSON))
    script = SNIPPET.replace("cifake-tune-bucket", str(place.bucket_folder)).replace("cifake/", f"{place.study}/")
    folder = place.folder / "again"
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [python_with(place.backend), "-c", script + AND_THEN],
        cwd=folder, capture_output=True, check=False, timeout=RUN_S,
        env={**place.environment, **share_of_cores(workers), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    metrics, probabilities = json.loads(done.stdout.splitlines()[-1])
    last = json.loads(origin)["stages"][-1]
    reported = {epoch: metrics for epoch, metrics in last["metrics"].items() if int(epoch) <= last["best_epoch"]}
    assert metrics == reported
    csv_gz = place.bucket.read(names.evaluation(place.study, names.PREDICTIONS_CSV))
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(csv_gz).decode())))
    predicted = np.array(probabilities)
    assert [float(row["probability"]) for row in rows] == pytest.approx(predicted.max(axis=1).tolist(), abs=1e-6)
