"""Fixtures of the evaluator's tests: those of tests/evaluation."""

from tests.evaluation.conftest import begun_once, cache, evaluated, evaluated_once, night

__all__ = ["begun_once", "cache", "evaluated", "evaluated_once", "night"]
