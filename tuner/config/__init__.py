"""The settings of a study: their definition, loading and validation."""
