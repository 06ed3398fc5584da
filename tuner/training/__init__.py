"""How a trial trains: the loop, batches, seeds, devices, the format of checkpoints."""
