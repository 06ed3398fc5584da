"""Keras's AdamW and SGD with a one-cycle learning rate, whose two settings differ in each trial, as variables.

With JAX, a number of an optimizer becomes part of the compiled program. As variables, the peak of the learning rate and
the weight decay are inputs of the program, so trials that differ in nothing else use the same one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


class _SettingsAsVariables(keras.optimizers.Optimizer):
    """Makes variables of the settings when the optimizer is built. Checkpoints do not contain them."""

    weight_decay: Any
    _settings: tuple[Any, ...] = ()
    _hides_settings = False

    @property
    def variables(self) -> list[Any]:
        """The optimizer's variables."""
        every: list[Any] = super().variables
        return every[: -len(self._settings)] if self._hides_settings and self._settings else every

    def build(self, variables: Any) -> None:
        """Create the optimizer's variables."""
        if self.built:
            return
        super().build(variables)
        self._decay = self.weight_decay
        self._settings = (self._variable(self._learning_rate.peak, "peak"), self._variable(self._decay, "decay"))
        self._learning_rate.peak_variable, self.weight_decay = self._settings

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `__init__`."""
        config: dict[str, Any] = super().get_config()
        return config | ({"weight_decay": self._decay} if self._settings else {})

    def save_own_variables(self, store: Any) -> None:
        """Save the state."""
        with self._without_settings():
            super().save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Load the state."""
        with self._without_settings():
            super().load_own_variables(store)

    def _variable(self, value: float, name: str) -> Any:
        return self.add_variable((), initializer=keras.initializers.Constant(value), dtype="float32", name=name)

    @contextmanager
    def _without_settings(self) -> Iterator[None]:
        self._hides_settings = True
        try:
            yield
        finally:
            self._hides_settings = False


@keras.saving.register_keras_serializable("cifake_tune")
class AdamW(_SettingsAsVariables, keras.optimizers.AdamW):
    """AdamW with a `OneCycle` learning rate. The settings are variables."""


@keras.saving.register_keras_serializable("cifake_tune")
class SGD(_SettingsAsVariables, keras.optimizers.SGD):
    """SGD with a `OneCycle` learning rate. The settings are variables."""
