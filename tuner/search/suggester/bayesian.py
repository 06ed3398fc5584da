"""Bayesian optimization: a Gaussian process with an upper confidence bound, as in Keras Tuner.

It differs from Keras Tuner's oracle in what it is fitted to: the scores have a single fidelity
(`tuner.search.suggester.fidelity`), and failed trials count as the worst of them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.search.suggester.fidelity import fidelity, score_at
from tuner.search.suggester.model_based import ModelBased
from tuner.search.suggester.unit_interval import is_fixed, tunable, value_at
from tuner.study.records import Value

if TYPE_CHECKING:
    from keras_tuner.engine.hyperparameters import HyperParameter

SAMPLES, STARTS = 2_000, 5
"""Number of random points at which the acquisition function is computed, and the number of the best of them from which
it is minimized. Keras Tuner minimizes from 50 random points, which takes ten times as long to find similar minima."""


class Bayesian(ModelBased):
    """Gaussian process. A suggestion of the model depends only on the trials and on its number.

    The next suggestion is started when a trial ends, and considers that trial's result. Therefore it is often ready
    when the worker needs it. If it were started earlier, workers would never wait, but each suggestion would ignore the
    newest result.
    """

    def _suggested(self, number: int) -> dict[str, Value] | None:
        from scipy.optimize import minimize

        dimensions = tunable(self._oracle.hyperparameters)
        model = self._fitted(dimensions) if dimensions else None
        if model is None:
            return None

        def acquisition(x: np.ndarray[Any, Any]) -> Any:
            mean, deviation = model.predict(x.reshape(-1, len(dimensions)), return_std=True)
            return mean - self._oracle.beta * deviation

        samples = np.random.RandomState((self._oracle.seed, number)).uniform(size=(SAMPLES, len(dimensions)))
        ordered = samples[np.argsort(acquisition(samples), kind="stable")]
        bounds = [(0.0, 1.0)] * len(dimensions)
        minima = [minimize(lambda x: acquisition(x)[0], x, bounds=bounds, method="L-BFGS-B") for x in ordered[:STARTS]]
        for x in [*(minimum.x for minimum in sorted(minima, key=lambda minimum: float(minimum.fun))), *ordered]:
            values = self._values(x)
            if self._untried.is_usable(values):
                return values
            if not self._untried.may_continue:
                break
        return None

    def _fitted(self, dimensions: "Sequence[HyperParameter]") -> Any:
        """Return a Gaussian process of the scores, of which smaller ones are better; None if there are no scores."""
        points = self._points()
        level = fidelity([point.observation for point in points], len(dimensions) + 1)
        if level is None:
            return None
        sign = -1.0 if self._oracle.objective.direction == "max" else 1.0
        x: list[list[float]] = []
        y: list[float] = []
        failed: list[list[float]] = []
        running: list[list[float]] = []
        for point in points:
            score, vector = score_at(point.observation, level), self._vector(point.values, dimensions)
            if score is not None:
                x.append(vector)
                y.append(sign * score)
            elif point.observation.is_infeasible:
                failed.append(vector)
            elif point.observation.is_unfinished:
                running.append(vector)
        x, y = [*x, *failed], [*y, *[max(y)] * len(failed)]
        model = self._oracle._make_gpr()
        model.fit(np.array(x), np.array(y))
        if running:  # a pessimistic estimate of running trials keeps other suggestions away from them
            mean, deviation = model.predict(np.array(running), return_std=True)
            model.set_params(kernel=model.kernel_, optimizer=None)  # these estimates say nothing about the kernel
            model.fit(np.array([*x, *running]), np.array([*y, *(mean + deviation)]))
        return model

    def _vector(self, values: Mapping[str, Value], dimensions: "Sequence[HyperParameter]") -> list[float]:
        """Return a point in the unit cube. Hyperparameters that are inactive or unknown have their default there."""
        vector = []
        for hyperparameter in dimensions:
            is_active = all(condition.is_active(values) for condition in hyperparameter.conditions)
            value = values.get(hyperparameter.name) if is_active else None
            vector.append(hyperparameter.value_to_prob(hyperparameter.default if value is None else value))
        return vector

    def _values(self, vector: np.ndarray[Any, Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        positions = iter(vector)
        for hyperparameter in self._oracle.hyperparameters.space:
            tuned = not is_fixed(hyperparameter)
            value = value_at(hyperparameter, next(positions)) if tuned else hyperparameter.default
            if all(condition.is_active(values) for condition in hyperparameter.conditions):
                values[hyperparameter.name] = value
        return values
