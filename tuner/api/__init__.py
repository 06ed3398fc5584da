"""Reading a study from Python: `from cifake_tune import open_study`."""
