"""The command line: verbs, screens and the terminal."""
