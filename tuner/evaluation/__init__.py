"""Evaluation of a trained model: the test split, corruptions, provenance, and predictions for new images."""
