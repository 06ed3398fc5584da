"""What is known of a study: records, state, the journal's reader, snapshots, status, progress."""
