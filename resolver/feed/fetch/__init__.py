"""Process 1 of a list, fetch: it has the network and sees names."""
