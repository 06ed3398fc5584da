"""Suggestions: the search algorithms, with a state that can be saved and restored exactly.

One algorithm a file. `make_suggester` returns the one that the settings name.
"""

from tuner.search.suggester.base import NoSuggestion, Restrictions, Suggester, Suggestion
from tuner.search.suggester.observation import Observation, observations
from tuner.search.suggester.selection import make_suggester, objective_of

__all__ = [
    "NoSuggestion",
    "Observation",
    "Restrictions",
    "Suggester",
    "Suggestion",
    "make_suggester",
    "objective_of",
    "observations",
]
