"""The way of a count: tally, publish, export. What may be known afterwards."""
