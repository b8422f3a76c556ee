"""Evidence of a month: one signed bundle for an auditor, what it is made of, and how it is held against itself."""
