"""Probes what a resolver really enforces, from a subscriber's place; the standard library is all that it needs."""
