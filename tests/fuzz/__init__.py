"""Random study files, settings, variables and arguments, which the command line must answer with a sentence."""
