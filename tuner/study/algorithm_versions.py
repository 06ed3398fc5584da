"""Versions of the search algorithms: with another version, the same trials are followed by other suggestions."""

from tuner.config.settings import Algorithm

FIRST = 1
"""The algorithms of version 0.1.0."""
SINGLE_FIDELITY = 2
"""The Gaussian process is fitted to scores of a single fidelity, and begins after search.initial_points trials."""


def algorithm_version(algorithm: Algorithm) -> int:
    """Return the version of an algorithm as this program has it."""
    return SINGLE_FIDELITY if algorithm is Algorithm.BAYESIAN else FIRST
