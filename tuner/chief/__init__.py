"""The chief: its start and end, its server, the dispatcher, the journal's writer and its metrics."""
