"""Other interpreters and other workers: JAX without TensorFlow, and Keras Tuner's own, unmodified."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.support import RUN_S, SPACES, Place, settings, space
from tuner import names
from tuner.trials import StudyState, TrialState

ROOT = Path(__file__).parents[2]


# ---- JAX --------------------------------------------------------------------------------------------
def test_the_whole_job_runs_on_jax_without_tensorflow(place: Place, two_colours: str) -> None:
    named = os.environ.get("CIFAKE_TUNE_JAX_PYTHON")
    if not named:
        pytest.skip("CIFAKE_TUNE_JAX_PYTHON names no interpreter with JAX (`make test` sets it)")
    python = Path(named)
    imported = subprocess.run([python, "-c", "import tensorflow"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in imported.stderr
    done = place.do(
        *("run", "--data", two_colours, *space("Tiny")),
        *settings(search__max_trials=2, training__epochs=3),
        python=python,
        KERAS_BACKEND="jax",
        PYTHONPATH=str(ROOT),
    )
    assert done.code == 0, done.err
    metrics = json.loads(place.bucket.read(names.evaluation(place.study, names.METRICS_JSON)))
    assert metrics["images"] == 20
    assert "jax" in (place.cache / "logs" / place.study / "worker-0.log").read_text()
    assert [(len(t.epochs), t.attempts) for t in place.state().trials.values()] == [(3, 1), (3, 1)]


# ---- Keras Tuner's own worker -------------------------------------------------------------------------
STOCK_WORKER = """
import sys
import keras_tuner
import numpy as np
from user_spaces import Tiny

x, y = np.zeros((16, 8, 8, 3), np.uint8), np.arange(16) % 2
tuner = keras_tuner.RandomSearch(
    Tiny((8, 8, 3), 2), objective="val_accuracy", max_trials=3, directory=sys.argv[1], project_name="stock"
)
tuner.search(x, y, validation_data=(x, y), epochs=2, verbose=0)
"""


def test_a_stock_worker_of_keras_tuner_finishes_trials_of_our_chief(place: Place, two_colours: str) -> None:
    assert place.do("data", "pack", two_colours, str(place.bucket_folder)).code == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {names.ENV_ORACLE_IP: "127.0.0.1", names.ENV_ORACLE_PORT: port}
    arguments = ("chief", *space("Tiny"), *settings(search__max_trials=3, training__epochs=2))
    chief = place.start(*arguments, **address)
    place.wait_for(lambda state: state.study, "the chief", chief)
    stock = subprocess.run(
        [sys.executable, "-c", STOCK_WORKER, str(place.folder)],
        env=place.environment | address | {names.ENV_TUNER_ID: "tuner0", "PYTHONPATH": str(SPACES)},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert stock.returncode == 0, stock.stderr[-4000:] + place.logs()
    done = chief.wait()
    state: StudyState = place.state()
    assert [(t.state, t.worker, t.attempts) for t in state.trials.values()] == [(TrialState.COMPLETED, "tuner0", 1)] * 3
    assert all(trial.score is not None for trial in state.trials.values())
    # it saves its models where only it knows, so there is nothing to evaluate
    assert done.code == 4
    assert done.err.startswith("error: ")
    assert "study 'cifake'" in done.err
    assert done.err.count("\n") == 1
