"""Asks many questions of one server, many at a time: over UDP, and over TCP what came truncated.

Rules:
- A question without an answer in TRY_S seconds is asked again, TRIES times in all; then it has no answer.
- So few are in flight that a socket's buffer, as systems have it, takes all their answers.
- The id is the question's place among those in flight; each answer is taken with the moment it came.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.journeys.running import HOST

CLIENT = "127.83.79.84"
IN_FLIGHT = 64
TRY_S, TRIES = 4.0, 3
TRUNCATED = 2


@dataclass(frozen=True)
class Answer:
    """What came by UDP and, where that was truncated, by TCP; `at` is when (monotonic seconds)."""

    octets: bytes
    whole: bytes
    at: float


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[bytes]] = {}

    def datagram_received(self, data: bytes, addr: object) -> None:
        future = self.waiting.get(int.from_bytes(data[:2], "big"))
        if future and not future.done():
            future.set_result(data)


async def _by_tcp(port: int, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(CLIENT, 0))
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()


async def _one(
    port: int, number: int, octets: bytes, datagrams: _Datagrams, transport: asyncio.DatagramTransport
) -> Answer:
    message = number.to_bytes(2, "big") + octets
    for _ in range(TRIES):
        future = asyncio.get_running_loop().create_future()
        datagrams.waiting[number] = future
        transport.sendto(message)
        try:
            reply = await asyncio.wait_for(future, TRY_S)
        except TimeoutError:
            continue
        finally:
            del datagrams.waiting[number]
        whole = b""
        if reply[2] & TRUNCATED:
            async with asyncio.timeout(TRY_S * TRIES):
                whole = await _by_tcp(port, message)
        return Answer(reply, whole, time.monotonic())
    return Answer(b"", b"", time.monotonic())


async def _all(port: int, questions: Sequence[bytes]) -> list[Answer]:
    loop, datagrams = asyncio.get_running_loop(), _Datagrams()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: datagrams, local_addr=(CLIENT, 0), remote_addr=(HOST, port)
    )
    found: dict[int, Answer] = {}
    left = iter(enumerate(questions))

    async def work() -> None:
        for number, octets in left:
            found[number] = await _one(port, number, octets, datagrams, transport)

    try:
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    finally:
        transport.close()
    return [found[number] for number in range(len(questions))]


def ask(port: int, questions: Sequence[bytes]) -> list[Answer]:
    """The answers to at most 65,536 questions (a query without its id each), in their order."""
    return asyncio.run(_all(port, questions))
