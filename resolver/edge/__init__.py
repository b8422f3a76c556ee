"""Encrypted transports, in a process of their own: TLS, HTTP and QUIC end here."""
