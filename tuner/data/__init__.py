"""Data sets: sources of images, shards in the bucket, arrays for training, and the built-in sample."""
