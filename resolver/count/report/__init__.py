"""What the counts come to: days, figures, and one file a format."""
