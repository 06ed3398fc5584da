"""Few of many points, for pictures that would show no more."""
