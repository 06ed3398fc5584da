"""Planning a search."""
