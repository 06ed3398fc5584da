"""Chief, workers and evaluator on one machine."""
