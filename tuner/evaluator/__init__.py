"""The evaluator: its run, the artifacts that it writes, and the reproduction of a trial."""
