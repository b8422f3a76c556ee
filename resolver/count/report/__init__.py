"""The transparency report: days, figures, and one file a format."""
