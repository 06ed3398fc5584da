"""A worker: attempts, heartbeats, checkpoints to and fro, logs."""
