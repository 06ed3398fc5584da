"""A plan is made from models of the space that are trained here."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuner.bucket.local import LocalBucket
from tuner.cli.app import _preempted
from tuner.config.loading import load
from tuner.config.settings import Study
from tuner.errors import ConfigError, PreemptedError, SpaceError
from tuner.planning.plan import Plan
from tuner.planning.run import plan_study

SPACE = """
import os
import signal

import keras
import keras_tuner
import numpy as np

class Lines(keras_tuner.HyperModel):
    fits = 0

    def data(self, part):
        x = np.linspace(0, 1, 4 * 64, dtype="float32").reshape(64, 4)
        return x, x[:, :1]

    def build(self, hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Choice("units", [1, 2, 3, 4]))])
        model.compile("sgd", "mse", metrics=["mae"])
        return model

class Signalled(Lines):
    def fit(self, hp, model, *args, **kwargs):
        if isinstance(model, keras.Model):
            Lines.fits += 1
            os.kill(os.getpid(), signal.SIGTERM)
        return super().fit(hp, model, *args, **kwargs)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "lines_space.py").write_text(SPACE, encoding="utf-8")
    return tmp_path


def study(code: Path, space: str, *settings: str) -> Study:
    own = ["data.own=true", f"space.import=lines_space:{space}", f"space.code={code}", "data.batch_size=8"]
    return load(settings=[*own, "search.objective=val_mae", "search.direction=min", *settings])


def planned(study: Study, code: Path, models: int = 2) -> Plan:
    return plan_study(study, LocalBucket(code / "bucket"), None, code / "cache", 1, models, None)


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Handle SIGTERM as a command does."""
    before = signal.signal(signal.SIGTERM, _preempted)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
def test_sigterm_during_the_timing_of_a_model_ends_the_command(code: Path) -> None:
    with pytest.raises(PreemptedError):
        planned(study(code, "Signalled"), code)
    import lines_space  # type: ignore[import-not-found]

    assert lines_space.Lines.fits == 1


def test_each_timed_model_is_shown_and_the_time_limit_is_kept(code: Path) -> None:
    shown: list[str] = []

    @contextmanager
    def show(what: str) -> Iterator[None]:
        shown.append(what)
        yield

    def limited(limit_s: float) -> Plan:
        bucket, lines = LocalBucket(code / "bucket"), study(code, "Lines")
        return plan_study(lines, bucket, None, code / "cache", 1, 2, None, show, limit_s)

    assert len(limited(300).models) == 2
    assert [what for what in shown if "timing" in what] == ["timing model 1 of 2", "timing model 2 of 2"]
    shown.clear()
    (only,) = limited(0).models
    assert [what for what in shown if "timing" in what] == ["timing model 1 of 2"]
    assert only.step_ms > 0
    assert only.epoch_s > 0


# ---- the same restrictions as the chief's --------------------------------------------------------


def test_models_that_the_chief_would_reject_are_neither_timed_nor_the_largest(code: Path) -> None:
    """A model has 5 parameters per unit."""
    plan = planned(study(code, "Lines", "search.constraints.parameters=12"), code)
    assert {model.hyperparameters["units"] for model in plan.models} == {1, 2}
    assert plan.largest_parameters == 12
    with pytest.raises(SpaceError, match=r"search\.constraints rejects all sampled models"):
        planned(study(code, "Lines", "search.constraints.parameters=4"), code)


def test_settings_that_the_chief_would_refuse_are_refused(code: Path) -> None:
    with pytest.raises(SpaceError, match=r"the space has no hyperparameter 'unit'\. Did you mean 'units'"):
        planned(study(code, "Lines", "search.first=[{unit: 3}]"), code)
    with pytest.raises(ConfigError, match="there is no study 'befor'"):
        planned(study(code, "Lines", "search.learn_from=[befor]"), code)
