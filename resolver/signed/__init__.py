"""What both ends of the feed sign."""
