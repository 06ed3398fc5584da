"""A worker and its parts: checkpoints, deliveries, where an attempt begins, how a process ends."""
