"""Defines the transports of queries, and the properties of each.

Rules:
- Over UDP an answer is as large as the client's EDNS payload size allows, at least 512 octets (RFC 1035 4.2.1,
  RFC 6891 6.2.5) and at most 1232 (RFC 9715). Over a stream the payload size is ignored: an answer has up to 65535
  octets (RFC 1035 4.2.2, RFC 7766 8, RFC 7858 3.3, RFC 8484 6, RFC 9250 4.2).
- An answer states the idle timeout only over TCP and DoT (RFC 7828 3, RFC 7858 3.4): HTTP and QUIC have their own, and
  DoQ forbids the option (RFC 9250 5.5.2).
- Only encrypted transports pad (RFC 7830 6): an answer's size is then a multiple of 468 octets (RFC 8467 4.1).
"""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from resolver.core.admit import Access, trusts
from resolver.core.codes import TRANSPORTS
from resolver.core.question import MIN_UDP_OCTETS
from resolver.core.reading import PADDED_OCTETS
from resolver.core.reply import MAX_UDP_OCTETS

ADDRESS_OCTETS = 16
MAX_STREAM_OCTETS = 65535
IDLE_S: Final = 10.0
"""Idle timeout of a connection, in seconds; the keepalive option states it (RFC 7828)."""


class Transport(Enum):
    """The transport of a query, in the order of core.codes.TRANSPORTS.

    number: its index there. label: its name in metrics and on the command line.
    is_stream: a handshake has shown that the client's address is not forged, and a large answer need not be truncated.
    least, most: the bounds of an answer's size, in octets; between them the client's EDNS payload size decides.
    keepalive_ds: the idle timeout that an answer states if the query asks for it, in tenths of a second; -1 for none.
    padding: answers may be padded to a multiple of this, in octets; 0 for no padding.
    """

    UDP = "udp"
    TCP = "tcp"
    DOT = "dot"
    DOH = "doh"
    DOQ = "doq"

    def __init__(self, label: str) -> None:
        self.label = label
        self.number = TRANSPORTS.index(label)
        self.is_stream = label != "udp"
        self.is_encrypted = label in ("dot", "doh", "doq")
        self.keepalive_ds = int(10 * IDLE_S) if label in ("tcp", "dot") else -1
        self.least = MAX_STREAM_OCTETS if self.is_stream else MIN_UDP_OCTETS
        self.most = MAX_STREAM_OCTETS if self.is_stream else MAX_UDP_OCTETS
        self.padding = PADDED_OCTETS if self.is_encrypted else 0


Reply = bytes | None
"""The octets to send, or None for silence."""

Answering = Callable[[bytes, bytes, Transport], Reply | Awaitable[Reply]]
"""Takes a query's octets, its client (16 octets) and its transport; returns the answer or an awaitable of it."""


class Taken(NamedTuple):
    """What came of the queries at the head of a stream's octets.

    used: the octets of so many `queries` that were taken. octets: the answers that are there, each behind its length.
    waiting: the answers that are not. broken: what follows cannot be framed.
    """

    used: int
    queries: int
    octets: bytes
    waiting: Sequence[Awaitable[Reply]]
    broken: bool


Taking = Callable[[bytes, bytes, int], Taken]
"""Takes the octets of a stream, its client (16 octets) and how many queries may be taken."""


def balancers(access: Access) -> Callable[[bytes], bool] | None:
    """Return a test whether an address (16 octets) is a load balancer's, whose PROXY header names the client; None if
    there are none."""
    if len(access.proxies) < ADDRESS_OCTETS:
        return None
    return lambda sender: bool(trusts(access, sender))


def framed(message: bytes) -> bytes:
    """Return a message as it goes over a stream, behind its length (RFC 1035 4.2.2)."""
    return len(message).to_bytes(2, "big") + message
