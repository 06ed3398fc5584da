"""The bucket: one contract, and what is special about each kind."""
