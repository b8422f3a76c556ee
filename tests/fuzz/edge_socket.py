"""Rounds between edge and service, for tests.fuzz.encrypted: an edge that sends what none does; a service that lies."""

import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from random import Random
from typing import Any, Final

import h2.config
import h2.connection

from resolver.core import codes
from resolver.query import edge_frames
from resolver.query.edge_frames import MOST_OCTETS, QUERY, REFUSALS, REPORT, Report
from tests.fuzz.served import CLIENT, Target, Wire, changed, message, number
from tests.journeys.edges import COLUMNS, request_of
from tests.journeys.processes import query_for

STEPS: Final = 25
HEAD: Final = 5
"""Octets of a frame before its body."""
ADDRESS: Final = bytes(10) + b"\xff\xff" + socket.inet_aton(CLIENT)
NAN: Final = float("nan")
COUNTS: Final[Sequence[Any]] = (0, 1, 2**31, 2**53 - 1, 2**53, 2**64, -1, 1.5, 1e308, NAN, True, None, "1", [], {})
_SEND_S: Final = 5.0
_HEADER_OCTETS: Final = 12


def framed(kind: int, body: bytes, size: int | None = None) -> bytes:
    """Return a frame; size: what it says of itself, None for the truth."""
    return ((1 + len(body)) if size is None else size).to_bytes(4, "big") + bytes((kind,)) + body


def report(chance: Random) -> bytes:
    """Return a report of an edge, or nearly."""

    def good() -> int:
        return chance.choice((0, 5, chance.randrange(2**53)))

    made = Report(
        number=chance.choice((1, 2, 3, 1023, 1024)),
        expires=chance.choice((None, 0, 1_900_000_000, 253_402_300_799)),
        connections={"dot": good(), "doh": good()},
        handshakes=good(),
        refused={reason: good() for reason in chance.sample(REFUSALS, 3)},
    )
    said: dict[str, Any] = json.loads(edge_frames.report(made)[HEAD:])
    if chance.random() < 0.1:
        odd = chance.choice(COUNTS)
        field = chance.choice((*said, "more"))
        said[field] = chance.choice((odd, {chance.choice(REFUSALS): odd}, {"x": 1, "dot": odd}))
    body = json.dumps(said).encode()
    if chance.random() < 0.05:
        body = chance.choice((changed(chance, body), b"[" * 4000, body * 2, b"", b"{}", b"9" * 4000))
    return framed(REPORT, body)


def query(chance: Random) -> bytes:
    """Return a query of an edge, or nearly."""
    over = chance.choice(codes.ENCRYPTED) if chance.random() < 0.99 else chance.randrange(256)
    client = chance.choice((ADDRESS, ADDRESS, bytes(16), b"\xff" * 16, chance.randbytes(16)))
    body = number(chance).to_bytes(4, "big") + bytes((over,)) + client + message(chance)
    match chance.randrange(60):
        case 0:
            return framed(QUERY, body[: chance.randrange(40)])
        case 1:
            return framed(QUERY, body, chance.choice((0, 1, 21, 32, 33, MOST_OCTETS, MOST_OCTETS + 1, 2**32 - 1)))
        case 2:
            return framed(QUERY, body[:21] + chance.randbytes(chance.choice((12, 65_535, 65_536))))
        case 3:
            return framed(chance.randrange(256), body)
        case _:
            return framed(QUERY, body)


def queries(target: Target, chance: Random) -> None:
    """Play a round: edges of the right account that send frames by chance."""
    ones = [_edge(target) for _ in range(chance.randint(1, 3))]
    for _ in range(STEPS):
        at = chance.randrange(len(ones))
        frames = chance.choice((1, 1, 5, 60))
        octets = b"".join((report if chance.random() < 0.2 else query)(chance) for _ in range(frames))
        if chance.random() < 0.04:
            octets = changed(chance, octets)
        try:
            _say(ones[at], chance, octets)
        except OSError:  # the service has ended this connection, or reads no more from it
            ones[at].close()
            ones[at] = _edge(target)
    for one in ones:
        one.close()


def _say(one: socket.socket, chance: Random, octets: bytes) -> None:
    size = chance.choice((len(octets), len(octets), 1 + len(octets) // 3, 1 + len(octets) // 30))
    for at in range(0, len(octets), size):
        one.sendall(octets[at : at + size])
    if chance.random() < 0.5:  # else its answers stay unread
        one.setblocking(False)
        try:
            with suppress(BlockingIOError):
                while one.recv(2**18):
                    pass
        finally:
            one.settimeout(_SEND_S)


def _edge(target: Target) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(_SEND_S)
    one.connect(target.socket)
    return one


def lies(target: Target, chance: Random) -> None:
    """Play a round: a service that lies to an edge, whose clients ask over each transport.

    What the edge says to them is still DNS in its framing, HTTP and QUIC.
    """
    target.liar.lies = Random(chance.random())
    try:
        _over_dot(target, chance)
        _over_http(target, chance)
        for _ in range(4):
            with suppress(OSError, HTTPException):  # a lie may be refused
                target.asking_lied.ask(chance.choice(COLUMNS), query_for("free.example"))
    finally:
        target.liar.lies = None


def _over_dot(target: Target, chance: Random) -> None:
    wire = Wire(target.lied, "tls", "dot", chance)
    asked = [query_for("free.example") for _ in range(chance.randint(1, 30))]
    wire.send(b"".join(len(one).to_bytes(2, "big") + one for one in asked))
    for _ in range(5):
        wire.hear(0.05)
    # An edge reads no message: whether an answer is one of these queries is the client's to see.
    at, heard = 0, bytes(wire.heard)
    while at + 2 <= len(heard):
        size = int.from_bytes(heard[at : at + 2], "big")
        assert size >= _HEADER_OCTETS, "no length of a message"
        at += 2 + size
    wire.close()


def _over_http(target: Target, chance: Random) -> None:
    wire = Wire(target.lied, "https", "h2", chance)
    spoken = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    spoken.initiate_connection()
    for asked in range(chance.randint(1, 20)):
        stream = spoken.get_next_available_stream_id()
        head, body = request_of(asked, query_for("free.example"))
        spoken.send_headers(stream, head, end_stream=not body)
        if body:
            spoken.send_data(stream, body, end_stream=True)
    wire.send(spoken.data_to_send())
    for _ in range(5):
        # An error of this state machine is a finding: the edge has said what is no HTTP/2.
        spoken.receive_data(wire.hear(0.05))
        wire.send(spoken.data_to_send())
    wire.close()
