"""In which order trials are shown."""
