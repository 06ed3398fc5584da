"""Archive → images → shards → arrays; and the built-in sample."""
