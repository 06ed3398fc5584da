"""The command line: one file per group of commands, with parsing and exit codes."""
