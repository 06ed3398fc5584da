"""Training of a trial: the loop, batches, seeds, devices and the format of checkpoints."""
