"""Number of random trials before a model of their scores is used (search.initial_points)."""

from tuner.config.settings import Algorithm, Search

WITHOUT_MAX_TRIALS = 10
AT_LEAST = 4
MODEL_BASED = frozenset({Algorithm.BAYESIAN, Algorithm.TPE})
"""Algorithms that a user chooses for suggestions by a model. `auto` is not chosen, so few trials need no warning."""


def initial_points(search: Search, dimensions: int) -> int:
    """Return the number of random trials with which a search begins.

    Args:
        search: The settings of the search.
        dimensions: Number of hyperparameters that are not fixed.
    """
    if search.initial_points is not None:
        return search.initial_points
    trials: int | None = search.max_trials
    wanted = WITHOUT_MAX_TRIALS if trials is None else trials // 3
    return max(AT_LEAST, min(wanted, WITHOUT_MAX_TRIALS + dimensions))


def without_model(search: Search, dimensions: int, learned: int = 0) -> str:
    """Return a warning if the algorithm's model suggests no trial at all; otherwise an empty text.

    `learned` is the number of trials of earlier studies (search.learn_from), which replace random ones.
    """
    points, trials = initial_points(search, dimensions) - learned, search.max_trials
    if search.algorithm not in MODEL_BASED or trials is None or trials > points:
        return ""
    return (
        f"search.max_trials is {trials} and the first {points} trials are random, so search.algorithm "
        f"{search.algorithm} suggests none with its model. Increase search.max_trials, or reduce search.initial_points."
    )
