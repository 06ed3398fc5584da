"""The chief: its life, its server, dispatching, the journal's writer, its metrics."""
