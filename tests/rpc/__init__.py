"""The connection between chief and workers: encryption, limits, and hostile requests."""
