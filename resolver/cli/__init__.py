"""What is typed: verbs, screens and the terminal."""
