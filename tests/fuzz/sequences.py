"""Writes sequences for `tests.fuzz.world`: by chance, and one for each message of the parity corpus."""

import random
from collections.abc import Iterator

from tests.fuzz import world
from tests.parity import make_corpus, wires

ANY_QUERY, QUERY, TAKE, ANY_REPLY, REPLY, FAIL, WAIT, CHANGE = range(8)
EVENTS = (QUERY,) * 9 + (TAKE,) * 4 + (REPLY,) * 5 + (ANY_QUERY, ANY_REPLY, FAIL, FAIL, WAIT, WAIT, CHANGE)


def sized(octets: bytes) -> bytes:
    """Octets as an event has them."""
    size = len(octets)
    return (bytes([size]) if size < 0xF0 else bytes([0xF0 | size >> 8, size & 255])) + octets


def any_query(octets: bytes, who: int = 0) -> bytes:
    """A packet of these octets."""
    return bytes([ANY_QUERY, who]) + sized(octets)


def any_reply(octets: bytes, which: int = 0, *, follows: bool = False) -> bytes:
    """A reply of these octets; follows: they are what comes with the id and the question that were asked."""
    if follows:
        octets = octets[2:4] + octets[6:12] + octets[12:]
    return bytes([ANY_REPLY, which << 1 | follows]) + sized(octets)


def drawn(draw: random.Random, events: int = 40, *, scribbles: bool = False) -> bytes:
    """A sequence by chance, in which most queries are read, and most of those that wait are answered."""
    names = [draw.randrange(len(world.NAMES)) for _ in range(2)]
    made = bytearray([draw.choice((0, 1, 2, 3, 3, 10, 18))])
    for _ in range(events):
        kind = draw.choice(EVENTS)
        how, who = draw.randrange(256), draw.choice((0, 0, 1, 2, 3, 16, 32, 33, 52))
        if kind == QUERY:
            asked = draw.choice(names), draw.choice((0, 1, 1, 1, 1, 2, 5, how))
            made += bytes([QUERY, who, *asked, draw.choice((0, 0, 32, 40, how & 0xFE))])
        elif kind == ANY_QUERY:
            known = ([b"listed", b"test"], [b"open", b"test"], [b"second", b"test"])
            made += any_query(wires.query(draw, known)[:3000], who)
        elif kind == ANY_REPLY:
            octets = wires.reply(draw, b"\0\0\1\0" + bytes(8) + b"\4open\4test\0\0\1\0\1", 27, ([b"listed", b"test"],))
            made += any_reply(octets[:12] + octets[27:3000], how >> 4, follows=True)
        elif kind == CHANGE:
            made += bytes([CHANGE, draw.choice((0, 0, 1, 2, 3, 4, 5, 6, *([0xC0] * 9 if scribbles else [])))])
            if made[-1] == 0xC0:
                made += draw.randbytes(3) + sized(draw.choice((draw.randbytes(8), bytes(8), b"\xff" * 8)))
        elif kind == TAKE:
            made += bytes([TAKE])
        elif kind == REPLY:
            made += bytes([REPLY, how, draw.randrange(256)])
        elif kind == WAIT:
            made += bytes([WAIT, how & 0x3F])
        else:
            made += bytes([FAIL, how])
    return bytes(made)


def seeds() -> Iterator[tuple[str, bytes]]:
    """The messages of the corpus as sequences, each with its name: what a client sends, what an upstream says."""
    for name, octets in make_corpus.queries():
        yield f"query-{name}", b"\3" + any_query(octets) + any_query(octets, 33) + bytes([TAKE, REPLY, 0, 0])
    asks = make_corpus.query()
    for name, octets in make_corpus.replies():
        if len(octets) < 0xFFF:
            after = octets[:12] + octets[len(asks) :]
            events = any_query(asks) + bytes([TAKE]) + any_reply(after, follows=True) + any_query(asks, 32)
            yield f"reply-{name}", b"\3" + events + bytes([WAIT, 0x4F]) + any_query(asks) + bytes([TAKE, FAIL, 0x40])
