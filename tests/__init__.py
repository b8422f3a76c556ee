"""The tests; tests/README.md says which part answers which question."""
