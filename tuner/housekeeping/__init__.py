"""Deleting studies, data sets and caches that are no longer needed."""
