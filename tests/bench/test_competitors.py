"""The adapters of other programs, on a table of ten configurations, in the environment that has the programs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.simulation.catalogue import COMPETITORS, Entry
from bench.simulation.clock import Cluster, simulate
from bench.simulation.table import Recording, save_table
from tests.bench.tables import EPOCHS, ten_configurations

ROOT = Path(__file__).parents[2]
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
OWN = [known for known in COMPETITORS if not known.own_environment]
OTHERS = [known for known in COMPETITORS if known.own_environment]


@pytest.mark.parametrize("known", OWN, ids=lambda known: known.name)
def test_bare_keras_tuner_searches_a_table(known: Entry) -> None:
    table = ten_configurations()
    contender = known.factory()(table, workers=2, seed=1)
    run = simulate(table, contender, Cluster(2), budget_s=4 * EPOCHS * 30)
    assert run.improvements[-1][1] > table.curves[:, 0].max() - 0.2
    assert len(run.trials) > 2
    if known.name == "keras-tuner-random":
        assert run.epochs == 2 * 4 * EPOCHS, "two workers train whole trials without a pause"


def test_keras_tuner_s_hyperband_continues_trials_at_the_epoch_that_they_reached() -> None:
    table = ten_configurations()
    contender = next(known for known in OWN if known.name == "keras-tuner-hyperband").factory()(table, 1, 1)
    jobs = []
    ask = contender.ask

    def noting(worker: int, now: float) -> Any:
        job = ask(worker, now)
        if job is not None:
            jobs.append(job)
        return job

    contender.ask = noting  # type: ignore[method-assign]
    simulate(table, contender, Cluster(1), budget_s=20 * EPOCHS * 30)
    assert any(job.first_epoch > 0 for job in jobs)
    assert all(job.first_epoch < job.epochs <= EPOCHS for job in jobs)


@pytest.mark.slow
@pytest.mark.skipif(not BENCH_PYTHON.exists(), reason="needs .venv-bench: make .venv-bench/installed")
@pytest.mark.parametrize(
    "known",
    [
        # Syne Tune's CQR computes for a second per suggestion
        pytest.param(known, marks=pytest.mark.exhaustive if known.name == "syne-cqr" else (), id=known.name)
        for known in OTHERS
    ],
)
def test_another_program_searches_a_table(known: Entry, tmp_path: Path) -> None:
    table = ten_configurations()
    right = np.rint(table.curves * 1000).astype(int).tolist()
    save_table(tmp_path / "ten.npz", table.grid, Recording(right, [1.0] * 10, [1] * 10), 1000, "by hand")
    command = [str(BENCH_PYTHON), "-m", "bench.simulation.turns", known.name, "ten", "3", "1", "2", "0", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["seed"] == 3
    assert outcome["reached_s"][0] is not None
    assert outcome["epochs"] < outcome["starts"] * EPOCHS, "it stops trials early"


def test_the_programs_are_named_once() -> None:
    assert len({known.name for known in COMPETITORS}) == len({known.label for known in COMPETITORS}) == len(COMPETITORS)
    assert sys.executable != str(BENCH_PYTHON)
