"""Number of objects of the bucket that a trial writes or deletes, by its epochs, counted in whole runs of one worker.

Objects that exist at the end were written once, and deleted objects were written before. The journal is not counted:
records that arrive together share a segment, so its rate is limited by the bucket's latency, not by the number of
workers.
"""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

from bench.chief.processes import ROOT, STDERR
from tests.support.fault_proxy import Request, running_proxy
from tests.support.gcs_emulator import running_emulator
from tuner import names
from tuner.bucket import open_bucket

STUDY = "operations"
FEW_TRIALS, MORE_TRIALS, FEW_EPOCHS, MORE_EPOCHS = 3, 9, 2, 6
SETTINGS = {
    "name": STUDY,
    "search.early_stopping.policy": "none",
    "space.values.filters": 20,
    "space.values.units_1": 100,
    "space.values.units_2": 100,
}


@dataclass(frozen=True)
class Operations:
    """Number of writes and deletions per trial, and per epoch of a trial."""

    per_trial: float
    per_epoch: float
    by_folder: dict[str, float]
    """Number for a trial with two epochs, by folder of the study."""


def measure(folder: Path) -> dict[str, object]:
    """Return the operations of a trial, from runs with different numbers of trials and of epochs."""
    base, trials, epochs = (
        _written(folder, trials, epochs)
        for trials, epochs in ((FEW_TRIALS, FEW_EPOCHS), (MORE_TRIALS, FEW_EPOCHS), (FEW_TRIALS, MORE_EPOCHS))
    )
    more = MORE_TRIALS - FEW_TRIALS
    per_epoch = (epochs.total() - base.total()) / (FEW_TRIALS * (MORE_EPOCHS - FEW_EPOCHS))
    per_trial = (trials.total() - base.total()) / more - FEW_EPOCHS * per_epoch
    by_folder = {name: (trials[name] - base[name]) / more for name in sorted(trials)}
    return asdict(Operations(per_trial, per_epoch, by_folder))


def _written(folder: Path, trials: int, epochs: int) -> Counter[str]:
    """Run a study, and return the number of objects written or deleted, by folder of the study."""
    deleted: list[str] = []

    def see(request: Request, status: int) -> None:
        if request.method == "DELETE" and status < 300:
            deleted.append(unquote(request.target.partition("?")[0].rpartition("/o/")[2]))

    with running_emulator() as emulator, running_proxy(emulator.url) as proxy:
        proxy.observer = see
        bucket = f"gs://{emulator.new_bucket()}"
        settings = {**SETTINGS, "search.max_trials": trials, "training.epochs": epochs}
        command = [sys.executable, "-m", "cifake_tune", "run", "--bucket", bucket, "--workers", "1"]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "STORAGE_EMULATOR_HOST": proxy.url,
            names.ENV_CACHE: str(folder / "cache"),
        }
        subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=STDERR)
        os.environ["STORAGE_EMULATOR_HOST"] = emulator.url
        try:
            remaining = list(open_bucket(bucket).list(names.study_prefix(STUDY)))
        finally:
            del os.environ["STORAGE_EMULATOR_HOST"]
    count = Counter(map(_folder, remaining))
    count.update({name: 2 * times for name, times in Counter(map(_folder, deleted)).items()})
    del count["journal"]
    return count


def _folder(name: str) -> str:
    return name.removeprefix(names.study_prefix(STUDY)).partition("/")[0]
