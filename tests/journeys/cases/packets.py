"""One row of the table of cases, and the octets of its queries.

Rules:
- A name asked for is `<what the upstream does>.<case>.test`, so that no two cases share a kept answer.
- The id of a query is taken from its case: the same each time the corpus is made, another for each case.
- A file of the corpus holds the row's messages, each after its length in two octets, as a stream carries them.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import dns.name
import dns.rdatatype

NEVER, ONCE, EACH = "never", "once", "each time"
UDP, TCP = "udp", "tcp"
RD: Final = 0x0100
LISTED: Final = "listed.test"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case: what comes, what is answered (in the words of `reading`), how often the upstream is asked for it.

    Every packet of the row is answered alike; `zones` names what `ZONE` stands for in the answer, packet by packet.
    `by_tcp` and `kept` are the answer where it is another over TCP, or from what was kept.
    """

    case: str
    comes: str
    rfc: str
    answer: str
    packets: tuple[bytes, ...]
    upstream: str = NEVER
    by_tcp: str = ""
    kept: str = ""
    over: tuple[str, ...] = (UDP, TCP)
    zones: tuple[str, ...] = ()

    def expected(self, transport: str, *, again: bool) -> str:
        """What has to come over a transport, the first time or again."""
        if again and self.kept:
            return self.kept
        return self.by_tcp if transport == TCP and self.by_tcp else self.answer


def wire(name: str) -> bytes:
    """A name's octets."""
    return dns.name.from_text(name).to_wire()


def ident(case: str) -> bytes:
    """The two octets of a case's id."""
    return (zlib.crc32(case.encode()) & 0xFFFF).to_bytes(2, "big")


def header(case: str, *, flags: int = RD, counts: Sequence[int] = (1, 0, 0, 0)) -> bytes:
    """Twelve octets."""
    return ident(case) + flags.to_bytes(2, "big") + b"".join(count.to_bytes(2, "big") for count in counts)


def question(name: bytes, kind: int | str = "A", qclass: int = 1) -> bytes:
    """A name in octets, type and class."""
    number = kind if isinstance(kind, int) else int(dns.rdatatype.from_text(kind))
    return name + number.to_bytes(2, "big") + qclass.to_bytes(2, "big")


def record(owner: bytes, kind: int, data: bytes, *, rdclass: int = 1, ttl: int = 0) -> bytes:
    """One record."""
    head = kind.to_bytes(2, "big") + rdclass.to_bytes(2, "big") + ttl.to_bytes(4, "big")
    return owner + head + len(data).to_bytes(2, "big") + data


def opt(*options: bytes, payload: int = 1232, version: int = 0, flags: int = 0, owner: bytes = b"\0") -> bytes:
    """An OPT record; `flags` are DO (0x8000) and those that mean nothing yet."""
    return record(owner, 41, b"".join(options), rdclass=payload, ttl=version << 16 | flags)


def option(code: int, data: bytes = b"") -> bytes:
    """One EDNS option."""
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def query(
    case: str,
    kind: int | str = "A",
    *extra: bytes,
    name: str | bytes = "",
    qclass: int = 1,
    flags: int = RD,
    sections: tuple[int, int] = (0, 0),
    after: bytes = b"",
) -> bytes:
    """A query of one question; records `extra` stand in ADDITIONAL but for the first, which `sections` counts."""
    asked = name if isinstance(name, bytes) else wire(name or f"right.{case}.test")
    counts = (1, *sections, len(extra) - sum(sections))
    return header(case, flags=flags, counts=counts) + question(asked, kind, qclass) + b"".join(extra) + after


def framed(packets: Sequence[bytes]) -> bytes:
    """Messages as a stream carries them."""
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def unframed(octets: bytes) -> Iterator[bytes]:
    """The messages of a stream."""
    while octets:
        size = int.from_bytes(octets[:2], "big")
        yield octets[2 : 2 + size]
        octets = octets[2 + size :]
