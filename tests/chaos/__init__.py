"""Chaos: a search whose processes are killed, stopped and doubled, over a bad network, and a checker of what is left.

`python -m tests.chaos --faults 200 --seed 1` (`make chaos`) runs one; `python -m tests.chaos.check BUCKET STUDY` checks
the journal of any study.
"""
