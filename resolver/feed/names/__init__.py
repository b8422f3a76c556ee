"""Process 2 of a list: it has no network and sees names."""
