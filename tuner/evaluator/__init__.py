"""The evaluator: its life, the artifacts it writes, reproducing a trial."""
