"""Encrypted upstreams: a process that speaks TLS and HTTP/2 to them, and hands their answers to the service."""
