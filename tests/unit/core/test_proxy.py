"""PROXY headers: whom they name, whom they do not, and what is refused."""

import socket
from collections.abc import Callable
from types import ModuleType

import pytest

Core = Callable[[str], ModuleType]
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
V4 = socket.inet_pton(socket.AF_INET, "192.0.2.7") + socket.inet_pton(socket.AF_INET, "192.0.2.53") + b"\x30\x39\0\x35"
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + b"\x30\x39\0\x35"
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.7")
# As dnsdist 1.7.3 sent them: a health check, and queries of 127.0.0.9 by UDP and ::1 by TCP.
DNSDIST_LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a20000000")
DNSDIST_UDP_V4 = bytes.fromhex("0d0a0d0a000d0a515549540a2112000c7f0000097f000001dc7e151a")
DNSDIST_TCP_V6 = bytes.fromhex("0d0a0d0a000d0a515549540a21210024" + "00" * 15 + "01" + "00" * 15 + "01" + "a707151a")


def header(command: int = PROXY, kind: int = 0x11, rest: bytes = V4, length: int | None = None) -> bytes:
    size = len(rest) if length is None else length
    return SIGNATURE + bytes([command, kind]) + size.to_bytes(2, "big") + rest


def said(core: Core, octets: bytes) -> tuple[int, bytes | None]:
    """What is read, and whom it names; None for the sender itself."""
    proxied = core("proxy").Proxied()
    size = core("proxy").read(octets, len(octets), proxied)
    return size, None if proxied.local else bytes(proxied.client)


@pytest.mark.parametrize("kind", [1, 2], ids=["stream", "datagram"])
def test_the_client_is_the_source_address(core: Core, kind: int) -> None:
    assert said(core, header(kind=0x10 | kind) + b"query") == (28, MAPPED)
    assert said(core, header(kind=0x20 | kind, rest=V6) + b"query") == (52, V6[:16])


def test_what_dnsdist_sends(core: Core) -> None:
    assert said(core, DNSDIST_LOCAL + b"query") == (16, None)
    assert said(core, DNSDIST_UDP_V4) == (28, bytes(10) + b"\xff\xff\x7f\0\0\x09")
    assert said(core, DNSDIST_TCP_V6) == (52, bytes(15) + b"\1")


def test_a_mapped_address_over_ipv6_is_the_ipv4_client(core: Core) -> None:
    assert said(core, header(kind=0x22, rest=MAPPED + V6[16:])) == (52, MAPPED)


def test_ports_and_extensions_after_the_addresses_are_passed_over(core: Core) -> None:
    extra = b"\xe0\0\x04\xff\xff\xff\xff" + bytes(300)
    assert said(core, header(rest=V4 + extra)) == (28 + len(extra), MAPPED)
    assert said(core, header(rest=V4[:8] + bytes(4)))[1] == MAPPED


@pytest.mark.parametrize(
    ("command", "kind", "rest"),
    [
        (LOCAL, 0, b""),
        (LOCAL, 0x11, V4),
        (LOCAL, 0x11, b""),
        (LOCAL, 0x77, bytes(300)),
        (PROXY, 0, b""),
        (PROXY, 0, b"\1\2\3"),
    ],
)
def test_who_speaks_for_itself(core: Core, command: int, kind: int, rest: bytes) -> None:
    assert said(core, header(command, kind, rest)) == (16 + len(rest), None)


def test_one_header_does_not_remember_the_one_before(core: Core) -> None:
    module, proxied = core("proxy"), core("proxy").Proxied()
    for octets, local in ((header(LOCAL, 0, b""), 1), (header(), 0), (header(PROXY, 0, b""), 1), (b"x", 0)):
        module.read(octets, len(octets), proxied)
        assert proxied.local == local
    module.read(header(kind=0x21, rest=V6), 52, proxied)
    module.read(header(), 28, proxied)
    assert bytes(proxied.client) == MAPPED


@pytest.mark.parametrize(
    "octets",
    [
        b"PROXY TCP4 192.0.2.7 192.0.2.53 12345 53\r\n",
        b"PROXY UNKNOWN\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(40),
        SIGNATURE[:-1] + b"\0" + header()[12:],
        header(command=0x11),
        header(command=0x31),
        header(command=0x22),
        header(command=0x2F),
        header(kind=0x10),
        header(kind=0x13),
        header(kind=0x01),
        header(kind=0x31, rest=bytes(216)),
        header(kind=0x41, rest=bytes(216)),
        header(rest=V4[:11]),
        header(rest=b""),
        header(kind=0x21, rest=V6[:35]),
        header(rest=V4 + bytes(509)),
        header(LOCAL, 0, bytes(521)),
        header(length=65535),
    ],
)
def test_what_is_refused(core: Core, octets: bytes) -> None:
    assert said(core, octets)[0] == 0


def test_the_longest(core: Core) -> None:
    longest = core("proxy").LONGEST
    assert longest == 536, "so much the specification lets a sender use"
    assert said(core, header(rest=V4 + bytes(longest - 28)))[0] == longest
    assert said(core, header(rest=V4 + bytes(longest - 27)))[0] == 0


@pytest.mark.parametrize("whole", [header(), header(kind=0x21, rest=V6 + bytes(20)), DNSDIST_LOCAL])
def test_every_cut_asks_for_more(core: Core, whole: bytes) -> None:
    for size in range(len(whole)):
        assert said(core, whole[:size])[0] == -1
    assert said(core, whole)[0] == len(whole)


def test_what_cannot_become_a_header_is_refused_at_its_first_wrong_octet(core: Core) -> None:
    for at in range(12):
        wrong = bytearray(header())
        wrong[at] ^= 0x40
        assert said(core, bytes(wrong[:at]))[0] == -1
        assert said(core, bytes(wrong[: at + 1]))[0] == 0
    assert said(core, SIGNATURE + b"\x11")[0] == 0


def test_an_end_past_the_octets_is_an_error(core: Core) -> None:
    with pytest.raises(IndexError):
        core("proxy").read(header()[:18], 28, core("proxy").Proxied())
