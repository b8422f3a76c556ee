"""Process 2 of a list, compile: it has no network and sees names."""
