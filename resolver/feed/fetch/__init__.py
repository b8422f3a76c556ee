"""Process 1 of a list: it has the network and sees names."""
