"""A request to an edge for the demonstration, with whatever a test says otherwise."""

from typing import Any

from resolver.edge.request import EdgeRequest


def request(**more: Any) -> EdgeRequest:
    said: dict[str, Any] = {
        "number": 1,
        "socket": "/nonexistent/queries",
        "state": "/nonexistent/state",
        "demonstration": True,
        "name": "dns.example.test",
        "tls": (),
        "https": (),
        "quic": (),
        "http3": (),
        "alternative": 0,
        "path": "/dns-query",
        "certificate": "/nonexistent/certificate.pem",
        "key": "/nonexistent/key.pem",
        "allow": bytes(16) + b"\xff" * 16,
        "exempt": bytes(16) + b"\xff" * 16,
        "proxies": b"",
        "connections": 1000,
        "per_client": 1000,
        **more,
    }
    return EdgeRequest(**said)
