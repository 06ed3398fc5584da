"""Fixtures of the evaluator's tests: those of tests/evaluation."""

from tests.evaluation.conftest import cache, night

__all__ = ["cache", "night"]
