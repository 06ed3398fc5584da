"""Chooses the algorithm that the settings name."""

from typing import TYPE_CHECKING, Any

from tuner.config.settings import Algorithm, Search, Study
from tuner.errors import ConfigError
from tuner.search.suggester.base import UNRESTRICTED, Restrictions, Suggester
from tuner.search.suggester.bayesian import Bayesian
from tuner.search.suggester.grid import Grid
from tuner.search.suggester.hyperband import Hyperband
from tuner.search.suggester.initial_points import initial_points
from tuner.search.suggester.unit_interval import tunable
from tuner.study.objective import Objective

if TYPE_CHECKING:
    import keras_tuner


def objective_of(search: Search) -> Objective:
    """Return the search's objective. Raises ConfigError if its direction is neither set nor known to Keras Tuner."""
    direction = inferred_direction(search.objective) if search.direction == "auto" else search.direction
    if direction is None:
        raise ConfigError(
            f"Keras Tuner does not know whether a larger or a smaller {search.objective!r} is better. "
            "Set search.direction to max or min."
        )
    return Objective(search.objective, "max" if direction == "max" else "min")


def inferred_direction(metric: str) -> str | None:
    """Return whether a larger (`max`) or smaller (`min`) metric is better; None if Keras Tuner does not know."""
    from keras_tuner.engine.metrics_tracking import infer_metric_direction

    try:
        inferred: str | None = infer_metric_direction(metric)
    except TypeError:  # Keras Tuner creates the metric without arguments, but some metrics need them (mean_io_u)
        return None
    return inferred


def make_suggester(
    study: Study,
    space: "keras_tuner.HyperParameters",
    objective: Objective,
    restrictions: Restrictions = UNRESTRICTED,
) -> Suggester:
    """Return a suggester that chooses the hyperparameters of `space` with the study's algorithm.

    Args:
        study: The settings.
        space: The hyperparameters, already narrowed by space.values.
        objective: The objective of the search.
        restrictions: Which configurations may be suggested, and which are suggested first.
    """
    from keras_tuner import Objective as Compared
    from keras_tuner import oracles

    compared = Compared(objective.name, objective.direction)
    common: dict[str, Any] = {"objective": compared, "seed": study.seed, "hyperparameters": space}
    limit, points = study.search.max_trials, initial_points(study.search, len(tunable(space)))
    match study.search.algorithm:
        case Algorithm.RANDOM:
            return Suggester(oracles.RandomSearchOracle(max_trials=limit, **common), limit, restrictions)
        case Algorithm.BAYESIAN:
            oracle = oracles.BayesianOptimizationOracle(max_trials=limit, **common)
            return Bayesian(oracle, limit, points, restrictions)
        case Algorithm.TPE | Algorithm.AUTO:
            from tuner.search.suggester.tpe import Tpe  # imports Optuna, which the other algorithms do not need

            oracle = oracles.RandomSearchOracle(max_trials=limit, **common)
            return Tpe(oracle, limit, points, restrictions, study.search.early_stopping)
        case Algorithm.GRID:
            return Grid(oracles.GridSearchOracle(max_trials=limit, **common), limit, restrictions)
        case Algorithm.HYPERBAND:
            brackets = study.search.hyperband
            oracle = oracles.HyperbandOracle(
                max_epochs=study.training.epochs,
                factor=brackets.factor,
                hyperband_iterations=brackets.iterations,
                **common,
            )
            return Hyperband(oracle, None, restrictions)
