"""What the evaluator measures, and how it shows it."""
