"""Used by each process of ours: its limits, its event loop, and the messages to systemd."""
