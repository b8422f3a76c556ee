"""Are the answers right? A sample of what was just asked, over the same transport, each looked into."""

import contextlib
import random
from collections.abc import Sequence

import dns.exception
import dns.message
import dns.rdatatype

from tests.bench import names
from tests.bench.load import BALANCER, PROXY_V2
from tests.journeys.running import HOST, PAGE_V4
from tests.peers import servers

SAMPLE = 20
_WAIT_S = 5.0
_TRIES = 3


def is_right(reply: bytes, query: bytes, name: str) -> bool:
    """Whether the reply is to this query and has the address that this name must get, and no other."""
    try:
        message = dns.message.from_wire(reply)
    except dns.exception.DNSException:
        return False
    if not dns.message.from_wire(query).is_response(message) or message.rcode() != 0:
        return False
    found = [record.to_text() for rrset in message.answer if rrset.rdtype == dns.rdatatype.A for record in rrset]
    return found == [names.address_of(name, PAGE_V4)]


def wrong(port: int, asked: Sequence[str], over: str, *, edns: bool, seed: int) -> int:
    """How many of a sample of these names got another answer; or none, though asked _TRIES times."""
    draw = random.Random(seed)
    found = 0
    for name in draw.choices(asked, k=SAMPLE):
        query = draw.randbytes(2) + names.query(name, edns=edns)[2:]
        found += not is_right(_asked(port, over, query), query, name)
    return found


def _asked(port: int, over: str, query: bytes) -> bytes:
    """The reply. A query may be lost in what the load before has left in a server's queue, and is asked again."""
    source, header = (BALANCER, PROXY_V2) if over == "proxy" else (HOST, b"")
    ask = servers.ask_over_tcp if over == "tcp" else servers.ask_over_udp
    for _ in range(_TRIES):
        with contextlib.suppress(OSError):
            return ask(port, query, source, _WAIT_S, header=header)
    return b""
