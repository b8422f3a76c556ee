"""Decisions over bytes: the same source runs as Python and compiles to C. No clock, no I/O, no logging."""
