"""Rounds of DNS over TLS to an edge, for tests.fuzz.encrypted: framing that no client has, and TLS that is changed."""

import ssl
from random import Random
from typing import Final

from tests.fuzz.served import Target, Wire, changed, message
from tests.journeys.edges import NAME, PATH

STEPS: Final = 20
HELLOS: Final = (
    b"PROXY TCP4 127.199.88.77 127.0.0.1 1 853\r\n",
    b"\r\n\r\n\0\r\nQUIT\n" + bytes(20),
    f"GET {PATH} HTTP/1.1\r\n\r\n".encode(),
    b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(40),  # of SSL 2
    b"\x15\x03\x03\x00\x02\x02\x28",  # an alert
    b"\x14\x03\x03\x00\x01\x01" * 100,  # changes of cipher without end
    b"\x18\x03\x03\x00\x03\x01\xff\xff",  # a heartbeat
    b"\x16\x03\x01\xff\xff" + bytes(300),  # a record that is longer than any
    b"\x16\x03\x01\x00\x00" * 50,  # records without content
    b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",  # a hello of 16 MB
)


def framed(octets: bytes) -> bytes:
    """Return a message behind its length."""
    return len(octets).to_bytes(2, "big") + octets


def said(chance: Random) -> bytes:
    """Return messages in their framing, or nearly."""
    match chance.randrange(8):
        case 0:
            return framed(message(chance)) * chance.choice((2, 40, 300))
        case 1:
            size = chance.choice((0, 1, 11, 12, 511, 65_535))
            return size.to_bytes(2, "big") + chance.randbytes(chance.randrange(60))
        case 2:
            return framed(chance.randbytes(chance.choice((12, 13, 4096, 65_535))))
        case 3:
            return changed(chance, framed(message(chance)))
        case 4:
            return chance.randbytes(chance.randrange(1, 300))
        case _:
            return framed(message(chance))


def dot(target: Target, chance: Random) -> None:
    """Play a round of framing."""
    wires = [Wire(target.place, "tls", "dot", chance) for _ in range(chance.randint(1, 3))]
    for _ in range(STEPS):
        wire, octets = chance.choice(wires), said(chance)
        if len(octets) < 200 and chance.random() < 0.3:
            wire.send(*(octets[at : at + 1] for at in range(len(octets))))  # a record for each octet
        else:
            cut = chance.randrange(len(octets) + 1)
            wire.send(octets[:cut], octets[cut:])
        if chance.random() < 0.3:
            wire.hear(0.002)
        if wire.over or chance.random() < 0.05:
            wires.remove(wire)
            wire.close()
            wires.append(Wire(target.place, "tls", "dot", chance))
    for wire in wires:
        wire.close()


def hello() -> bytes:
    """Return the octets that begin a handshake."""
    tls_in, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.wrap_bio(tls_in, out, server_hostname=NAME).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("a handshake without a server")


def in_records(octets: bytes, size: int) -> bytes:
    """Return the hello of one record in many."""
    parts = [octets[at : at + size] for at in range(5, len(octets), size)]
    return b"".join(b"\x16\x03\x01" + framed(part) for part in parts)


def tls(target: Target, chance: Random) -> None:
    """Play a round of TLS that is changed: in the handshake, after it, or without one."""
    for _ in range(chance.randint(4, 10)):
        key, alpn = chance.choice((("tls", "dot"), ("https", "h2"), ("https", "http/1.1"), ("tls", "unknown")))
        if chance.random() < 0.4:
            wire = Wire(target.place, key, alpn, chance, tampers=chance.choice((0.5, 1.0)))
        else:
            wire = Wire(target.place, key, alpn, chance)
            for _ in range(chance.randint(1, 5)):
                wire.send(said(chance))
                wire.send_raw(chance.choice((*HELLOS, hello(), b"\x17\x03\x03" + framed(chance.randbytes(60)))))
        wire.hear(0.002)
        wire.close()
        begun(target, key, chance)


def begun(target: Target, key: str, chance: Random) -> None:
    """Send what is no handshake, or one that is changed, and go."""
    begins = hello()
    octets = chance.choice((*HELLOS, changed(chance, begins), begins * 3, begins[: chance.randrange(len(begins))],
                            in_records(begins, 1), in_records(begins, 40), chance.randbytes(500)))  # fmt: skip
    wire = Raw(target, key, chance)
    size = chance.choice((len(octets), 1 + len(octets) // 7))
    for at in range(0, len(octets), size):
        wire.send_raw(octets[at : at + size])
    wire.close()


class Raw(Wire):
    """A connection on which TLS never begins."""

    def __init__(self, target: Target, key: str, chance: Random) -> None:
        super().__init__(target.place, key, "dot", chance)

    def _handshake(self) -> None:
        self._out.read()
