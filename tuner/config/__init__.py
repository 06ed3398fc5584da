"""study.yaml: the settings, reading and checking them."""
