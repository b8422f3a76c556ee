"""Are the answers right? A sample of what was just asked, over the same transport, each looked into."""

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
    """How many of a sample of these names got another answer, or none."""
    draw = random.Random(seed)
    found = 0
    for name in draw.choices(asked, k=SAMPLE):
        query = draw.randbytes(2) + names.query(name, edns=edns)[2:]
        try:
            found += not is_right(_asked(port, over, query), query, name)
        except OSError:
            found += 1
    return found


def _asked(port: int, over: str, query: bytes) -> bytes:
    if over == "tcp":
        return servers.ask_over_tcp(port, query, seconds=_WAIT_S)
    if over == "proxy":
        return servers.ask_over_udp(port, query, BALANCER, _WAIT_S, header=PROXY_V2)
    return servers.ask_over_udp(port, query, HOST, _WAIT_S)
