"""Keras layers, losses and callbacks of the built-in spaces."""
