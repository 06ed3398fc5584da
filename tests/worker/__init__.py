"""A worker and its parts: checkpoints, reports, resuming, and the end of a process."""
