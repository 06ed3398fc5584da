"""The code of the chief, the workers, the evaluator and the command line, in pods or on one machine."""

__version__ = "0.2.0"
