"""Runs Keras Tuner scripts unchanged, in every role: the chief, the workers and the evaluator."""
