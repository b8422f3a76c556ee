"""Long runs of the whole service: the same answers from both ways of UDP, and lists swapped under load."""
