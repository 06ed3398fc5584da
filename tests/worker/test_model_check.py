"""The model of an attempt's first epoch is loaded and scored as in the evaluator. Honest trainings raise no alarm."""

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from tests.support.listeners import QuietListener
from tests.worker.greedy import Greedy
from tests.worker.honest_spaces import (
    CLASSES,
    HONEST,
    SHAPE,
    Averaged,
    Brain,
    Dropping,
    Honest,
    OneHot,
    Penalized,
    ScalesInFit,
    Sigmoid,
)
from tuner.data.arrays import Arrays, TrainingData
from tuner.evaluation import recomputation
from tuner.study.objective import Objective
from tuner.study.records import FaultScope
from tuner.training.checkpoint import save_model
from tuner.training.faults import InvalidTrialError, SharedFaultError
from tuner.training.loop import Task, train
from tuner.worker.model_check import ModelCheck

BATCH = 16


def shades(count: int, seed: int = 0) -> Arrays:
    """Return noisy images of two shades, some of which look like the other class."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    level = 100 + 50 * labels[:, None, None, None] + rng.normal(0, 25, (count, 1, 1, 1))
    return Arrays(rng.normal(level, 40, (count, *SHAPE)).clip(0, 255).astype(np.uint8), labels)


class CheckingListener(QuietListener):
    """A listener that saves and checks each epoch's model as a worker does."""

    def __init__(self, file: Path, data: TrainingData, objective: str = "val_accuracy") -> None:
        self.verified: list[bool | None] = []
        self.metrics: list[dict[str, float]] = []
        self._file = file
        self._model_check = ModelCheck(data.validation, CLASSES, BATCH, objective)

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        save_model(model, self._file)
        self.metrics.append(metrics)
        self.verified.append(self._model_check.verify(self._file, metrics, returned, self.check, named=named))


def trained(
    space: keras_tuner.HyperModel, file: Path, objective: str = "val_accuracy", epochs: int = 2, seed: int = 1
) -> CheckingListener:
    """Train, with a check after each epoch that is due."""
    data = TrainingData(shades(64, seed), shades(100, seed + 1))
    listener = CheckingListener(file, data, objective)
    compared = Objective(objective, "min" if objective.endswith("loss") else "max")
    task = Task(keras_tuner.HyperParameters(), seed, BATCH, epochs, objective=compared)
    train(space, task, data, listener)
    return listener


@pytest.mark.slow
@pytest.mark.parametrize("space", [Dropping, Brain, Averaged, OneHot])
def test_an_honest_training_raises_no_alarm(space: type[Honest], tmp_path: Path) -> None:
    assert trained(space(), tmp_path / "m.keras", epochs=1).verified == [True]


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
@pytest.mark.parametrize("space", HONEST)
def test_a_hundred_honest_trainings_raise_no_alarm(
    space: type[Honest], objective: str, seed: int, tmp_path: Path
) -> None:
    assert trained(space(), tmp_path / "m.keras", objective, epochs=2, seed=seed).verified[0] is True


@pytest.mark.slow
def test_pixels_divided_in_fit_raise_an_alarm_that_says_where_to_divide_them(tmp_path: Path) -> None:
    with pytest.raises(SharedFaultError) as alarm:
        trained(ScalesInFit(), tmp_path / "m.keras", epochs=8)
    assert alarm.value.scope is FaultScope.SHARED
    text = str(alarm.value)
    assert text.startswith("val_accuracy was reported as ")
    assert "but the saved model reaches " in text
    assert "on all 100 validation images with pixels of 0-255" in text
    assert "keras.layers.Rescaling(1 / 255) instead of x / 255" in text


class Stuck(Honest):
    """Predicts the first class for all images until the third epoch, in which `fit` begins to divide the pixels."""

    def fit(self, hp: Any, model: Any, x: Any, y: Any, callbacks: Any, **more: Any) -> None:
        for callback in callbacks:
            callback.set_model(model)
        weights = model.layers[-1].get_weights()
        for epoch, value in enumerate([0.5, 0.97]):
            model.layers[-1].set_weights([np.zeros_like(weights[0]), np.array([9.0, 0.0])])
            for callback in callbacks:
                callback.on_epoch_end(epoch, {"val_accuracy": value})


def test_an_agreement_that_says_nothing_is_checked_again_after_the_next_epochs(tmp_path: Path) -> None:
    listener = CheckingListener(tmp_path / "m.keras", data := TrainingData(shades(64), shades(100)))
    task = Task(keras_tuner.HyperParameters(), 1, BATCH, 2)
    with pytest.raises(SharedFaultError, match=r"reported as 0\.9700, but the saved model reaches 0\.5000"):
        train(Stuck(), task, data, listener)
    assert listener.verified == [True]


@keras.saving.register_keras_serializable("test_model_check")
class Shade(keras.metrics.Metric):
    """A registered metric of a user: the mean output."""

    def __init__(self, name: str = "shade", **more: Any) -> None:
        super().__init__(name=name, **more)
        self.mean = keras.metrics.Mean()

    def update_state(self, truth: Any, output: Any, sample_weight: Any = None) -> None:
        self.mean.update_state(output[:, 0])

    def result(self) -> Any:
        return self.mean.result()

    def reset_state(self) -> None:
        self.mean.reset_state()


def unregistered(truth: Any, output: Any) -> Any:
    return keras.ops.mean(output[:, 0])


class WithMetric(Honest):
    def __init__(self, metric: Any) -> None:
        super().__init__()
        self._metric = metric

    def metrics(self) -> list[Any]:
        return ["accuracy", self._metric]


def evaluated(
    space: Honest, file: Path, objective: str, divisor: int = 1, returned: bool = False, named: bool = False
) -> bool | None:
    """Check the model that a space builds, untrained, with the metrics that it has on the divided images."""
    data = shades(60)
    model = space.build(None)
    metrics = model.evaluate(data.images / divisor, data.labels, verbose=0, return_dict=True)
    save_model(model, file)
    reported = {f"val_{name}": value for name, value in metrics.items()} | metrics
    return ModelCheck(data, CLASSES, BATCH, objective).verify(file, reported, returned, lambda: None, named=named)


def test_an_objective_is_recomputed_if_its_metric_can_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "m.keras"
    assert evaluated(WithMetric(Shade()), file, "val_shade") is True
    assert evaluated(WithMetric(unregistered), file, "val_unregistered") is False
    assert evaluated(WithMetric(unregistered), file, "val_accuracy") is True
    assert evaluated(Sigmoid(), file, "val_auc") is True
    assert evaluated(Penalized(), file, "val_loss") is True
    assert evaluated(Penalized(), file, "loss") is False, "a metric of the training images"


def test_a_loss_of_other_pixels_raises_an_alarm_at_once_unless_fit_returned_it_as_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "m.keras"
    with pytest.raises(SharedFaultError, match="val_loss was reported as"):
        evaluated(ScalesInFit(), file, "val_loss", divisor=255)
    with pytest.raises(SharedFaultError, match=r"val_loss was reported as .*history\.history\['val_loss'\]\[-1\]"):
        evaluated(ScalesInFit(), file, "val_loss", divisor=255, returned=True, named=True)
    assert evaluated(ScalesInFit(), file, "val_loss", divisor=255, returned=True) is False
    assert "val_loss was reported as" in caplog.text, "both values are logged"
    assert evaluated(ScalesInFit(), file, "val_loss", returned=True) is True


def test_outputs_that_are_not_finite_are_the_fault_of_their_trial(tmp_path: Path) -> None:
    model = Honest().build(None)
    model.layers[-1].set_weights([np.full((144, 2), np.nan), np.zeros(2)])
    save_model(model, tmp_path / "m.keras")
    check = ModelCheck(shades(40), CLASSES, BATCH, "val_accuracy")
    with pytest.raises(InvalidTrialError, match="NaN") as fault:
        check.verify(tmp_path / "m.keras", {"val_accuracy": 0.5}, False, lambda: None)
    assert fault.value.scope is FaultScope.TRIAL


@pytest.mark.parametrize("moment", ["loaded", "applied", "measured"])
def test_a_check_that_runs_out_of_memory_does_not_call_the_model_broken(moment: str, tmp_path: Path) -> None:
    save_model(Greedy(moment).build(None), tmp_path / "m.keras")
    objective = "val_greedy_metric" if moment == "measured" else "val_accuracy"
    check = ModelCheck(shades(40), CLASSES, BATCH, objective)
    with pytest.raises(MemoryError, match="the check of the saved model ran out of memory beside the trained model"):
        check.verify(tmp_path / "m.keras", {objective: 0.5}, False, lambda: None)


def test_a_sample_is_used_if_all_images_take_too_long_and_is_tolerated_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recomputation, "ALL_S", 0.0)
    monkeypatch.setattr(recomputation, "SAMPLE", 128)
    space, file, data = Honest(), tmp_path / "m.keras", shades(600)
    model = space.build(None)
    model.fit(shades(200).images, shades(200).labels, epochs=3, verbose=0)
    save_model(model, file)
    accuracy = model.evaluate(data.images, data.labels, verbose=0, return_dict=True)["accuracy"]
    subject = recomputation.Subject(model, file, data, 32)

    def recomputed(value: float) -> recomputation.Recomputed:
        result = recomputation.recompute(subject, {"val_accuracy": value}, "val_accuracy", everything=False)
        assert result is not None
        return result

    assert (recomputed(accuracy).images, recomputed(accuracy).all_images) == (128, 600)
    assert recomputed(accuracy).agrees
    assert 0.02 < recomputed(accuracy).tolerance < 0.25
    assert not recomputed(accuracy - 0.4).agrees
    everything = recomputation.recompute(subject, {"val_accuracy": accuracy}, "val_accuracy", everything=True)
    assert everything is not None
    assert everything.images == 600
    assert everything.value == pytest.approx(accuracy, abs=1e-6)


def recomputed_of(classes: int, swapped: bool, metric: object, file: Path) -> recomputation.Recomputed:
    """Return the check of a weak model of many classes, whose reported metric may be that of permuted outputs."""
    keras.utils.set_random_seed(1)
    rng, count = np.random.default_rng(0), 1000
    labels = rng.integers(classes, size=count)
    images = rng.integers(256, size=(count, *SHAPE)).astype(np.uint8)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Rescaling(1e-3, -0.127)])
    model.add(keras.layers.Dense(classes, activation="softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
    save_model(model, file)
    outputs = model.predict(images, verbose=0)
    labels = np.where(rng.random(count) < 0.19, outputs.argmax(axis=1), labels)
    evaluated = model.evaluate(images[..., ::-1] if swapped else images, labels, verbose=0, return_dict=True)
    name = next(each for each in evaluated if each != "loss")
    subject = recomputation.Subject(model, file, Arrays(images, labels.astype(np.uint8)), 256)
    result = recomputation.recompute(subject, {f"val_{name}": evaluated[name]}, f"val_{name}", everything=True)
    assert result is not None
    return result


@pytest.mark.parametrize("metric", ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=3, name="top")])
def test_the_tolerance_of_100_classes_excludes_a_model_of_flipped_channels(metric: object, tmp_path: Path) -> None:
    honest = recomputed_of(100, False, metric, tmp_path / "m.keras")
    assert honest.agrees
    assert honest.tolerance < 0.11
    wrong = recomputed_of(100, True, metric, tmp_path / "m.keras")
    assert abs(wrong.value - wrong.reported) > 0.05
    assert not wrong.agrees


class OwnCompile(keras.Sequential):
    """A model whose compile has arguments of its own."""

    def compile(self, temperature: float) -> None:
        super().compile("sgd", "sparse_categorical_crossentropy")


def test_a_model_with_its_own_compile_can_be_checked(tmp_path: Path) -> None:
    data = shades(40)
    plain = Honest().build(None)
    save_model(plain, tmp_path / "m.keras")
    model = OwnCompile(plain.layers)
    model.compile(temperature=1.0)
    loss = plain.evaluate(data.images, data.labels, verbose=0, return_dict=True)["loss"]
    subject = recomputation.Subject(model, tmp_path / "m.keras", data, 32)
    result = recomputation.recompute(subject, {"val_loss": loss}, "val_loss", everything=True)
    assert result is not None
    assert result.agrees
