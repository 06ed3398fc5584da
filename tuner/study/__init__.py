"""A study's data: its journal, the state that is computed from the journal, snapshots, status and progress."""
