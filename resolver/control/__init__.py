"""What the command line and the service say to each other."""
