"""What the service needs of this host: accounts, systemd, crash reports."""
