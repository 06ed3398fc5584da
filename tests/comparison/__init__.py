"""Bare Keras Tuner's distributed mode beside ours, defect by defect; docs/comparison.md is the table of it.

A test here that fails on bare Keras Tuner's side is good news: the defect is gone, and the table is to be changed.
"""
