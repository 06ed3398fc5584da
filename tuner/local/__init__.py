"""Runs chief, workers and evaluator on one machine."""
