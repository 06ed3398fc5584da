"""Tables, progress and logs in a terminal."""
