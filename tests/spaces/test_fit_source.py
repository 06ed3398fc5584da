"""Whether a space's own `fit` may return an objective that its first epoch lacks is read in its source."""

from typing import Any

import keras
import pytest

from tuner.spaces.fit_source import may_return

# ruff: noqa: RET504


class Returning:
    """Each method is the `fit` of a space."""

    def history(self, hp, model, x, y, validation_data, **more):
        return model.fit(x, y, validation_data=validation_data, **more)

    def named_history(self, hp, model, *args, callbacks, **kwargs):
        model.optimizer.learning_rate = hp.Float("learning_rate", 0, 1)
        history = model.fit(*args, callbacks=callbacks, **kwargs)
        return history

    def nothing(self, hp, model, x, y, callbacks, **more):
        if hp.Boolean("augment"):
            x = x[:, ::-1]
        model.fit(x, y, callbacks=callbacks, **more)

    def other_names(self, hp, model, x, y, **more):
        history = model.fit(x, y, **more)
        return {"val_acc": max(history.history["val_accuracy"])}


class Uncertain:
    """Each method is the `fit` of a space."""

    options_of_fit: Any
    trained: Any
    wrapped: Any

    def objective(self, hp, model, x, y, **more):
        model.fit(x, y, **more)
        return {"val_auc": 0.5}

    def number(self, hp, model, x, y, **more):
        model.fit(x, y, **more)
        return model.evaluate(x, y)[1]

    def unpacked(self, hp, model, x, y, **more):
        history = model.fit(x, y, **more)
        return {"a": 1, **history.history}

    def changed_history(self, hp, model, x, y, **more):
        history = model.fit(x, y, **more)
        history.history["val_auc"] = [0.5]
        return history

    def more_callbacks(self, hp, model, x, y, callbacks, **more):
        return model.fit(x, y, callbacks=[*callbacks, keras.callbacks.Callback()], **more)

    def appended_callback(self, hp, model, x, y, callbacks, **more):
        callbacks.append(keras.callbacks.Callback())
        return model.fit(x, y, callbacks=callbacks, **more)

    def appended_to_the_rest(self, hp, model, x, y, **more):
        more["callbacks"].append(keras.callbacks.Callback())
        return model.fit(x, y, **more)

    def two_stages(self, hp, model, x, y, validation_data, **more):
        model.fit(x, y, **more)
        return model.fit(x, y, validation_data=validation_data, **more)

    def folds(self, hp, model, x, y, **more):
        for _ in range(2):
            model.fit(x, y, **more)

    def rare_validation(self, hp, model, x, y, **more):
        return model.fit(x, y, validation_freq=2, **more)

    def options(self, hp, model, x, y, **more):
        return model.fit(x, y, **self.options_of_fit, **more)

    def helper(self, hp, model, x, y, **more):
        return self.trained(model, x, y, **more)

    def another_model(self, hp, model, x, y, **more):
        model = self.wrapped(model)
        return model.fit(x, y, **more)

    @staticmethod
    def decorated(hp, model, x, y, **more):
        return model.fit(x, y, **more)


class Own(keras.Sequential):
    """May return anything."""

    def fit(self, *args: Any, **more: Any) -> Any:
        return {"val_auc": 0.5}


def methods(of: type) -> list[str]:
    return [name for name in vars(of) if not name.startswith("_")]


@pytest.mark.parametrize("name", methods(Returning))
def test_it_cannot_return_the_objective(name: str) -> None:
    assert not may_return(getattr(Returning, name), keras.Sequential(), "val_auc")


@pytest.mark.parametrize("name", methods(Uncertain))
def test_it_may_return_the_objective(name: str) -> None:
    assert may_return(getattr(Uncertain, name), keras.Sequential(), "val_auc")


def test_it_may_return_the_objective_if_the_model_or_the_source_is_unusual() -> None:
    assert may_return(Returning.history, Own(), "val_auc")
    (model := keras.Sequential()).fit = lambda *args, **more: {"val_auc": 0.5}
    assert may_return(Returning.history, model, "val_auc")
    source: dict[str, Any] = {}
    exec("def fit(self, hp, model, x, y, **more): return model.fit(x, y, **more)", source)
    assert may_return(source["fit"], keras.Sequential(), "val_auc")
