"""A month's signed evidence for an auditor: collecting the bundle, and verifying it."""
