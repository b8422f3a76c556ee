"""Exchanges one request by HTTP/2 (RFC 9113), all that many DoH servers speak, with the standard library alone.

Rules:
- One stream, no priorities, no pushes, and headers that need no table (RFC 7541 6.2.2) and no Huffman code.
- Of a response its status 200 and its body count; any other status is not read, but refused.
- FRAMES frames and MOST octets at most; whatever is no HTTP/2 raises NotSpoken.
"""

from typing import Final, Protocol

FRAMES: Final = 64
MOST: Final = 65_535
_MOST_FRAME: Final = 16_384
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_NO_PUSH: Final = b"\0\2\0\0\0\0"
_STATUS_200: Final = 0x88
# Indices of the static table (RFC 7541 appendix A).
_POST, _HTTPS, _AUTHORITY, _PATH, _ACCEPT, _LENGTH, _TYPE = 3, 7, 1, 4, 19, 28, 31


class NotSpoken(Exception):
    """Raised if the other side does not answer the request by HTTP/2 with status 200."""


class Stream(Protocol):
    """What is used of a connection."""

    def sendall(self, data: bytes, /) -> None:
        """Send octets."""

    def recv(self, size: int, /) -> bytes:
        """Return what came, nothing at the end."""


def post(stream: Stream, authority: str, path: str, kind: str, body: bytes) -> bytes:
    """Post a body and return that of the response."""
    block = bytes([0x80 | _POST, 0x80 | _HTTPS]) + b"".join(
        _field(index, value)
        for index, value in (
            (_AUTHORITY, authority), (_PATH, path), (_ACCEPT, kind), (_LENGTH, str(len(body))), (_TYPE, kind),
        )
    )  # fmt: skip
    stream.sendall(
        _PREFACE
        + _frame(_SETTINGS, 0, 0, _NO_PUSH)
        + _frame(_HEADERS, _END_HEADERS, 1, block)
        + _frame(_DATA, _END_STREAM, 1, body)
    )
    return _response(stream)


def _field(index: int, value: str) -> bytes:
    """Return a header that is not indexed, with a name of the static table."""
    name = bytes([index]) if index < 15 else bytes([15, index - 15])
    data = value.encode("ascii")
    if len(data) < 127:
        return name + bytes([len(data)]) + data
    more = len(data) - 127
    return name + bytes([127, more & 0x7F | 0x80, more >> 7]) + data


def _frame(kind: int, flags: int, number: int, data: bytes) -> bytes:
    return len(data).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + data


def _response(stream: Stream) -> bytes:
    body = bytearray()
    for _ in range(FRAMES):
        head = _exactly(stream, 9)
        size, kind, flags, number = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
        if size > _MOST_FRAME:
            raise NotSpoken("a frame is too large")
        data = _exactly(stream, size)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            stream.sendall(_frame(kind, _ACK, 0, data if kind == _PING else b""))
        if kind in (_GOAWAY, _RST_STREAM):
            raise NotSpoken("the request was refused")
        if number != 1 or kind not in (_HEADERS, _DATA):
            continue
        if kind == _HEADERS and not body:
            _check_status(_content(data, flags))
        if kind == _DATA:
            body += _content(data, flags & ~_PRIORITY)
        if len(body) > MOST:
            raise NotSpoken("the body is too large")
        if flags & _END_STREAM:
            return bytes(body)
    raise NotSpoken("the response does not end")


def _content(data: bytes, flags: int) -> bytes:
    """Return a frame's data without padding and priority."""
    padding = 0
    if flags & _PADDED:
        padding, data = (data[0] if data else 0), data[1:]
    if flags & _PRIORITY:
        data = data[5:]
    return data[: len(data) - padding] if padding else data


def _check_status(block: bytes) -> None:
    """Raise NotSpoken unless the first header is `:status: 200`, as every encoder writes it."""
    at = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:  # The size of the table (RFC 7541 6.3).
        more = block[at] & 0x1F == 0x1F
        at += 1
        while more and at < len(block):
            more = bool(block[at] & 0x80)
            at += 1
    if block[at : at + 1] != bytes([_STATUS_200]):
        raise NotSpoken("another status than 200")


def _exactly(stream: Stream, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = stream.recv(size - len(found))
        if not part:
            raise NotSpoken("the connection was closed")
        found += part
    return bytes(found)
