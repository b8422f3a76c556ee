"""Counts the records of TLS in what a peer sends: those without data are work for us, and cost it nothing."""

from typing import Final

_HEAD_OCTETS: Final = 5


class Records:
    """Counts records by their headers (RFC 8446 5.1)."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def begun(self, data: bytes) -> int:
        """Return how many headers are whole with these octets."""
        if self._head:
            data, self._head = self._head + data, b""
        found, at, size = 0, self._left, len(data)
        while at + _HEAD_OCTETS <= size:
            found += 1
            at += _HEAD_OCTETS + (data[at + 3] << 8 | data[at + 4])
        self._left = max(0, at - size)
        self._head = data[at:]
        return found

