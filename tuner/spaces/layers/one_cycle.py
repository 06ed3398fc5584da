"""The one-cycle learning rate, which rises linearly and then falls along a cosine to 0 at the last step."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("cifake_tune")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 to `peak` over the share `warm_up` of all `steps`, and falls back to 0 at the last step.

    It depends only on the optimizer's step count, which checkpoints contain, so that a resumed training continues it.
    Sources: Smith, Topin: Super-Convergence, https://arxiv.org/abs/1708.07120, and for the cosine SGDR,
    https://arxiv.org/abs/1608.03983.
    """

    def __init__(self, peak: float, steps: int, warm_up: float = 0.2) -> None:
        super().__init__()
        self.peak = peak
        self.steps = steps
        self.warm_up = warm_up
        self.peak_variable: Any = None
        """Variable with the value of `peak`, which an optimizer may set."""

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, counted from 0."""
        done = ops.minimum((ops.cast(step, "float32") + 1) / self.steps, 1.0)
        decay = ops.maximum(done - self.warm_up, 0.0) / (1 - self.warm_up)
        falling = 0.5 * (1 + ops.cos(math.pi * decay))
        peak = self.peak if self.peak_variable is None else self.peak_variable
        return peak * ops.where(done < self.warm_up, done / self.warm_up, falling)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `__init__`."""
        return {"peak": self.peak, "steps": self.steps, "warm_up": self.warm_up}
