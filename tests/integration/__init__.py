"""The whole job: real processes, killed, interrupted and started again."""
