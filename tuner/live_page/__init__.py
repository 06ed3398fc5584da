"""The live page: what a browser shows of a study while its chief runs."""
