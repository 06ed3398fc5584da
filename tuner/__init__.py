"""Everything that runs in the pods, or on a laptop: chief, workers, evaluator and the command line."""

__version__ = "0.1.0"
