"""A Forward towards scripted upstreams, for the tests of its modules."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message

from resolver.config.values import Endpoint
from resolver.core.question import Question, parse
from resolver.query.forward import Forward, Unanswered
from tests.fakes.upstream import HOST, Upstream, records
from tests.unit.query.parts import Message, open_sockets, until

TABLE = records({("open.test", "A"): ["198.51.100.7"], ("open.test", "TXT"): ["x"]})
SHORT_S = 0.3


def parsed(packet: bytes) -> Question:
    """What core.question reads from a query."""
    question = Question()
    parse(packet, len(packet), question)
    return question


def nothing(told: bytes | Unanswered) -> None:
    """What an exchange that nobody keeps is told to."""


async def exchange(asking: Forward, asked: Message, digest: tuple[int, int] | None = None) -> Message:
    """One exchange, shared with nobody unless `digest` says so."""
    packet = asked.to_wire()
    reply = await asking.exchange(packet, parsed(packet), digest or (id(asked), 1), nothing)
    return dns.message.from_wire(reply)


@asynccontextmanager
async def asking(
    *endpoints: Endpoint, timeout_s: float = 5, case_randomization: bool = False, **more: Any
) -> AsyncIterator[Forward]:
    """A Forward that is closed in the end, with nothing left open and nothing said by the loop."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    more["case_randomization"] = case_randomization
    one = Forward(endpoints, timeout_s=timeout_s, bounds_s=(0.1, 10), **more)
    open_before = open_sockets()
    try:
        yield one
    finally:
        await one.close()
        await until(lambda: open_sockets() <= open_before)
    assert said == []


def at(upstream: Upstream) -> Endpoint:
    return Endpoint(HOST, upstream.port)


def closed_port() -> Endpoint:
    """Where nobody listens."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        return Endpoint(*one.getsockname())
