"""`python -m tests.fuzz.quic --seconds 300 --seed 1` sends a QuicServer what no client would: of DoQ and of HTTP/3.

Rules:
- A round is made of its seed: connections, frames, streams and datagrams by chance, among them good ones that were
  changed. After each the server answers a client that behaves, its loop has seen no error, and it is within its bounds.
- Memory is compared after the first rounds and at the end: it may grow by GROWN_KIB.
- A finding ends the run and names the seed; `--play SEED` plays it again. It is then added to KEPT, whose seeds
  tests/unit/edge plays.
"""

import argparse
import asyncio
import os
import random
import time
from base64 import urlsafe_b64encode
from contextlib import AsyncExitStack
from typing import Any, Final

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3Connection, encode_frame

from resolver.edge.http3 import HTTP3
from resolver.edge.quic import DOQ
from resolver.edge.quic_conversation import HELD_OCTETS, Spoken
from resolver.edge.quic_engine import WINDOW_OCTETS
from tests.fuzz.served import changed, resident_kib
from tests.unit.edge.quic_lab import NAME, QUERY, Client, HasPort, Lab, client, serving, until

KEPT: Final[tuple[str, ...]] = ("1-1", "1-2", "1-3", "1-4")
"""Seeds that reach every kind of step, and those of findings."""

STEPS: Final = 30
WARM_ROUNDS: Final = 40
GROWN_KIB: Final = 60_000
FRAMED: Final = len(QUERY).to_bytes(2, "big") + QUERY
KINDS: Final = (*range(0x20), 0x30, 0x31, 0x21, 0x3F)


def number(chance: random.Random) -> int:
    """Return a number as frames have it: small, at an edge, or anything."""
    edges = (0, 1, 2, 3, 4, 63, 64, 16383, 16384, 81919, 81920, 131072, 2**30, 2**60, 2**62 - 1)
    return chance.choice((chance.randrange(300), chance.choice(edges), chance.randrange(2**62)))


def frame(chance: random.Random) -> bytes:
    """Return a QUIC frame by chance (RFC 9000 19), at most 1000 octets."""
    kind = chance.choice(KINDS)
    numbers = b"".join(encode_uint_var(number(chance)) for _ in range(chance.randrange(5)))
    rest = chance.randbytes(chance.randrange(40)) if chance.random() < 0.7 else stream_octets(chance)
    if 0x08 <= kind <= 0x0F and chance.random() < 0.7:  # a STREAM frame that says what it holds
        rest = rest[:900]
        stream = encode_uint_var(chance.choice((0, 0, 4, 8, 2, 6, 10, 3, 252, 256)))
        offset = encode_uint_var(number(chance) if chance.random() < 0.3 else chance.randrange(40)) if kind & 4 else b""
        numbers = stream + offset + (encode_uint_var(len(rest)) if kind & 2 else b"")
    return (bytes((kind,)) + numbers + rest)[:1000]


def block(chance: random.Random) -> bytes:
    """Return a header block (RFC 9204) of a request, or nearly."""
    get = "/dns-query?dns=" + urlsafe_b64encode(QUERY).decode().rstrip("=")
    fields = [
        (b":method", chance.choice((b"GET", b"POST", b"PUT", b"get", b""))),
        (b":scheme", chance.choice((b"https", b"http"))),
        (b":authority", chance.choice((NAME.encode(), b""))),
        (b":path", chance.choice((get.encode(), b"/dns-query", b"/", b"", b"*"))),
        (b"content-type", chance.choice((b"application/dns-message", b"text/plain"))),
        (b"content-length", chance.choice((b"33", b"0", b"-1", b"99999", b"x"))),
        (b"x-large", b"y" * chance.choice((0, 10, 5000))),
    ]
    chosen = [one for one in fields if chance.random() < 0.8]
    if chance.random() < 0.1:
        chance.shuffle(chosen)
    plain = b"\0\0" + b"".join(
        b"\x27" + bytes((len(name) - 7,)) + name + b"\x7f" + varint7(len(value) - 127) + value
        if len(value) >= 127 and len(name) >= 7
        else literal(name) + bytes((len(value) & 0x7F,)) + value[:126]
        for name, value in chosen
    )
    return changed(chance, plain) if chance.random() < 0.3 else plain


def literal(name: bytes) -> bytes:
    """Return the start of a literal field with its name (RFC 9204 4.5.6)."""
    return bytes((0x20 | len(name),)) + name if len(name) < 7 else b"\x27" + bytes((len(name) - 7,)) + name


def varint7(value: int) -> bytes:
    """Return the octets behind a prefix that is full (RFC 7541 5.1)."""
    made = bytearray()
    while value >= 128:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(made) + bytes((value,))


def stream_octets(chance: random.Random) -> bytes:
    """Return the octets of a stream: DNS behind its length, frames of HTTP/3, or neither."""
    match chance.randrange(5):
        case 0:
            return FRAMED
        case 1:
            return changed(chance, FRAMED)
        case 2:
            return encode_frame(1, block(chance)) + encode_frame(0, chance.choice((QUERY, b"", b"x" * 40)))
        case 3:
            kind = chance.choice((0, 1, 3, 4, 5, 7, 13, 2, 0x21, 0x41, 0xF0700, number(chance)))
            size = chance.choice((None, number(chance)))
            rest = chance.randbytes(chance.randrange(60))
            return encode_frame(kind, rest) if size is None else encode_uint_var(kind) + encode_uint_var(size) + rest
        case _:
            return chance.randbytes(chance.randrange(100))


class Changing(Client):
    """A client some of whose datagrams are changed before they leave."""

    chance: random.Random | None = None

    def transmit(self) -> None:
        """Send what there is, changed or not."""
        chance = self.chance
        if chance is None or chance.random() < 0.7 or self._transport is None:
            super().transmit()
            return
        for octets, address in self.peer.datagrams_to_send(self._loop.time()):
            made = chance.choice((changed(chance, octets), octets * 2, octets[: chance.randrange(len(octets) + 1)]))
            self._transport.sendto(made[:60_000], address)


async def one_round(lab: HasPort, spoken: Spoken, seed: str) -> None:
    """Play a round on a running server."""
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        clients: list[Changing] = []
        for _ in range(chance.randint(1, 3)):
            one = await stack.enter_async_context(client(lab, spoken.alpn, make=Changing, wait=False))
            if chance.random() < 0.8:
                await asyncio.wait({asyncio.ensure_future(one.wait_connected())}, timeout=5)
            one.chance = chance
            if spoken is HTTP3 and chance.random() < 0.7:
                H3Connection(one.peer)
            clients.append(one)
        for _ in range(STEPS):
            one = chance.choice(clients)
            if one.closed.done():
                continue
            step(chance, one)
            if chance.random() < 0.3:
                await asyncio.sleep(0)  # let the server see it


def step(chance: random.Random, one: Changing) -> None:
    """Send something."""
    match chance.randrange(6):
        case 0 | 1:
            one.send_frames(*(frame(chance) for _ in range(chance.randint(1, 4))))
        case 2 | 3 | 4:
            try:
                stream = chance.choice((0, 4, 8, 12, 16, 2, 6, 10, 14))
                one.send(stream, stream_octets(chance), is_end=chance.random() < 0.4)
            except (RuntimeError, ValueError, AssertionError):
                return  # this stream of ours has ended
        case _:
            for _ in range(chance.randint(1, 3)):
                one.send_raw(chance.choice((b"\xc0", b"\x40", b"\xff", b"")) + chance.randbytes(chance.randrange(1400)))


async def check(lab: Lab, spoken: Spoken, faults: list[Any]) -> None:
    """Assert that the server is well, and answers a client that behaves."""
    assert not faults, faults
    held = [one.engine.held() for one in lab.server.conversations]
    assert all(octets <= HELD_OCTETS + WINDOW_OCTETS for octets in held), held
    async with client(lab, spoken.alpn) as one:
        if spoken is DOQ:
            one.send(0, FRAMED)
        else:
            get = "/dns-query?dns=" + urlsafe_b64encode(QUERY).decode().rstrip("=")
            fields = ((":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", get))
            H3Connection(one.peer).send_headers(0, [(name.encode(), said.encode()) for name, said in fields], True)
            one.transmit()
        assert (await one.whole(0))[-20:] == QUERY[-20:]


async def play(seeds: list[str], seconds: float = 0, first: str = "") -> int:
    """Play seeds, or rounds for so many seconds; return how many were played."""
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: faults.append(about))
    played = kib = 0
    until_s = time.monotonic() + seconds
    async with serving(DOQ, connections=50) as doq, serving(HTTP3, connections=50) as http3:
        while seeds or time.monotonic() < until_s:
            seed = seeds.pop(0) if seeds else f"{first}-{played + 1}"
            for lab, spoken in ((doq, DOQ), (http3, HTTP3)):
                try:
                    await one_round(lab, spoken, seed)
                    await check(lab, spoken, faults)
                except BaseException:
                    print(f"a finding: --play {seed} ({spoken.alpn})", flush=True)
                    raise
            played += 1
            if played == WARM_ROUNDS:
                kib = resident_kib(os.getpid())
        await until(lambda: len(doq.server.conversations) + len(http3.server.conversations) <= 100)
        if kib:
            grown = resident_kib(os.getpid()) - kib
            print(f"{played} rounds; memory grew by {grown} KiB; refused: {refusals(doq)} {refusals(http3)}")
            assert grown < GROWN_KIB
    return played


def refusals(lab: Lab) -> dict[str, int]:
    """Return the number of refusals by reason."""
    return {reason: lab.tallies.reasons.count(reason) for reason in sorted(set(lab.tallies.reasons))}


def main() -> None:
    """Play what is typed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default=str(os.getpid()))
    parser.add_argument("--play", action="append", default=[])
    typed = parser.parse_args()
    asyncio.run(play(typed.play, 0 if typed.play else typed.seconds, typed.seed))


if __name__ == "__main__":
    main()
