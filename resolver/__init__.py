"""A DNS forwarder that enforces an authority's signed blocklist and lets nothing out but counts."""

__version__ = "0.1.0"
