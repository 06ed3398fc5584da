"""A worker: its attempts at trials, its heartbeats, its checkpoints in the bucket, and its logs."""
