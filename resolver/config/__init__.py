"""What is set: the configuration as frozen structs."""
