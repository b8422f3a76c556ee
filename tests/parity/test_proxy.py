"""Random PROXY headers: both builds read the same, and no octets are more than they are."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.parity import cases, wires

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def read(core: cases.Core, octets: bytes) -> tuple[int, int, bytes]:
    proxied = core("proxy").Proxied()
    size = core("proxy").read(octets, len(octets), proxied)
    return size, proxied.local, bytes(proxied.client)


def header(r: random.Random) -> bytes:
    """A header, right or nearly so, whole or cut."""
    rest = r.randbytes(r.choice((0, 11, 12, 12, 12, 35, 36, 36, 60, 216, 520, 521)))
    size = r.choice((len(rest), len(rest), len(rest), r.randrange(600), 65535))
    command, kind = r.choice((0x20, 0x21, 0x21, 0x21, 0x22, 0x11)), r.choice((0, 0x11, 0x12, 0x21, 0x22, 0x31, 0x10))
    whole = SIGNATURE + bytes((command, kind)) + size.to_bytes(2, "big") + rest
    return whole[: r.choice((len(whole), len(whole), r.randrange(len(whole))))]


def test_headers() -> None:
    @cases.of(0.1)
    @given(cases.randoms)
    def run(r: random.Random) -> None:
        octets = header(r)
        if r.random() < 0.1:
            octets = wires.damaged(r, octets)
        size, local, _ = cases.both(read, octets)
        assert size == -1 or size == 0 or 16 <= size <= min(536, len(octets))
        cases.count("PROXY headers", "refused" if size == 0 else "cut" if size < 0 else "local" if local else "named")

    run()
    cases.assert_met("PROXY headers", "refused", "cut", "local", "named")


def test_any_octets() -> None:
    @cases.of(0.1)
    @given(st.binary(max_size=80))
    def run(octets: bytes) -> None:
        cases.both(read, octets)
        cases.both(read, SIGNATURE + octets)
        cases.both(read, SIGNATURE + b"\x21" + octets)

    run()
