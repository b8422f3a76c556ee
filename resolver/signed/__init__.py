"""The formats that both ends of the feed sign and verify."""
