"""The way of a count: tally, publish, export. Only what may be known afterwards leaves the process."""
