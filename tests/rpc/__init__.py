"""The connection between chief and workers: encryption, bounds, and what hostile callers send."""
