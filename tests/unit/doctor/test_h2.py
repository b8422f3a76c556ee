"""doctor/h2.py: what it sends, what it takes for a response, and an end to whatever comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolver.doctor import h2


class Wire:
    """A connection that has these octets to give, a few at a time."""

    def __init__(self, octets: bytes) -> None:
        self.left, self.sent = octets, b""

    def sendall(self, data: bytes, /) -> None:
        self.sent += data

    def recv(self, size: int, /) -> bytes:
        part, self.left = self.left[: min(size, 7)], self.left[min(size, 7) :]
        return part


def frame(kind: int, flags: int, number: int, data: bytes) -> bytes:
    return len(data).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + data


SETTINGS, OK = frame(4, 0, 0, b""), frame(1, 4, 1, b"\x88\x5f\x01x")


def posted(octets: bytes) -> tuple[bytes, Wire]:
    wire = Wire(octets)
    return h2.post(wire, "resolver.test", "/dns-query", "application/dns-message", b"query"), wire


def test_a_request_and_its_response() -> None:
    first = SETTINGS + frame(4, 1, 0, b"") + frame(6, 0, 0, b"12345678")
    body, wire = posted(first + OK + frame(0, 0, 1, b"re") + frame(0, 1, 1, b"ply"))
    assert body == b"reply"
    assert wire.sent.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\2\0\0\0\0"))
    headers = b"\x83\x87\x01\x0dresolver.test\x04\x0a/dns-query"
    kind = b"\x17application/dns-message"
    headers += b"\x0f\x04" + kind + b"\x0f\x0d\x015" + b"\x0f\x10" + kind
    assert frame(1, 4, 1, headers) + frame(0, 1, 1, b"query") in wire.sent
    assert wire.sent.endswith(frame(4, 1, 0, b"") + frame(6, 1, 0, b"12345678"))


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (frame(1, 4 | 8 | 0x20, 1, b"\2" + bytes(5) + b"\x88" + bytes(2)) + frame(0, 1 | 8, 1, b"\1reply\0"), b"reply"),
        (frame(1, 4, 1, b"\x3f\xe1\x1f\x88") + frame(0, 1, 3, b"of another") + frame(0, 1, 1, b"reply"), b"reply"),
        (frame(1, 5, 1, b"\x88"), b""),
    ],
)
def test_padding_priorities_and_other_streams(octets: bytes, body: bytes) -> None:
    assert posted(octets)[0] == body


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (frame(1, 4, 1, b"\x8d"), "another status"),
        (frame(1, 4, 1, b""), "another status"),
        (frame(7, 0, 0, bytes(8)), "refused"),
        (frame(3, 0, 1, bytes(4)), "refused"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "too large"),
        (SETTINGS, "closed"),
        (OK + frame(0, 0, 1, bytes(16_000)) * 5, "body is too large"),
        (SETTINGS * 65, "does not end"),
    ],
)
def test_what_is_no_response(octets: bytes, reason: str) -> None:
    with pytest.raises(h2.NotSpoken, match=reason):
        posted(octets)


@given(st.binary(max_size=200))
def test_any_octets_are_a_body_or_none(octets: bytes) -> None:
    for data in (octets, OK + octets, frame(1, 0x2C, 1, octets)):
        try:
            assert len(posted(data)[0]) <= h2.MOST
        except h2.NotSpoken:
            continue


def test_a_long_path_has_a_long_length() -> None:
    wire = Wire(OK + frame(0, 1, 1, b"x"))
    assert h2.post(wire, "a", "/" + "p" * 299, "k", b"") == b"x"
    assert b"\x04\x7f\xad\x01/ppp" in wire.sent
