"""Which trials have reached each rung of early stopping, and which were stopped there."""
