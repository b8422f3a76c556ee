"""Used by each process of ours: its limits, its log, its event loop, and the messages to systemd."""
