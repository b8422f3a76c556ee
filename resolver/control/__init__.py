"""The control socket, by which the command line reaches the service."""
