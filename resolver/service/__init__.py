"""What runs: the parts joined, started, swapped and stopped."""
