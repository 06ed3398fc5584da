"""A trial of a script whose worker is killed continues on another one, with its optimizer and its history."""

import signal
from pathlib import Path

import pytest

from tests.integration.support import place
from tuner.study.records import TrialState

pytestmark = pytest.mark.slow

SCRIPT = """
import os, time
from pathlib import Path
import keras, keras_tuner, numpy as np

GATE = Path(os.environ["INTEGRATION_GATE"])
x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
y = x.sum(axis=1)


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(hp.Int("units", 2, 4)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


class Model(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, **kwargs):
        history = model.fit(*args, **kwargs)
        (GATE / "history").write_text(str(len(history.history["val_loss"])))
        return history


class Held(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        with (GATE / "steps").open("a") as file:
            file.write(f"{epoch} {int(self.model.optimizer.iterations.numpy())}\\n")
        while epoch == 2 and not (GATE / "open").exists():
            time.sleep(0.05)


tuner = keras_tuner.RandomSearch(Model(), "val_loss", max_trials=1, seed=1)
tuner.search(x, y, validation_split=0.25, epochs=4, batch_size=16, callbacks=[Held()], verbose=0)
print(len(tuner.get_best_models()))
"""


def test_a_killed_workers_trial_continues_with_optimizer_and_history(tmp_path: Path) -> None:
    with place(tmp_path / "run", "tune") as here:
        (script := tmp_path / "tune.py").write_text(SCRIPT)
        command = here.start("run", "--script", str(script), "--workers", "1", "--set", "leases.duration_s=3")
        here.wait_for(lambda state: any(len(trial.epochs) == 2 for trial in state.trials.values()), "epoch 2", command)
        here.kill(signal.SIGKILL, "worker")
        (here.gate / "open").touch()
        done = command.wait()
        assert done.code == 0, done.err + here.logs()
        [trial] = here.state().trials.values()
        assert (trial.state, trial.attempts) == (TrialState.COMPLETED, 2)
        assert [epoch for _, epoch in here.reports()] == [0, 1, 2, 3]
        steps = (here.gate / "steps").read_text().splitlines()
        assert sorted(steps) == ["0 0", "1 3", "2 6", "2 6", "3 9"]  # each epoch with the optimizer's steps before it
        assert (here.gate / "history").read_text() == "4"


def test_a_script_that_runs_again_continues_its_study(tmp_path: Path) -> None:
    with place(tmp_path / "run", "tune") as here:
        (here.gate / "open").touch()
        (script := tmp_path / "tune.py").write_text(SCRIPT)
        assert here.do("run", "--script", str(script), "--workers", "1").code == 0
        script.write_text(SCRIPT.replace("max_trials=1", "max_trials=2, overwrite=True"))
        done = here.do("run", "--script", str(script), "--workers", "1", "--set", "training.epochs=4")
        assert done.code == 0, done.err + here.logs()
        assert "overwrite=True deletes nothing" in done.output
        assert [trial.attempts for trial in here.state().trials.values()] == [1, 1]
