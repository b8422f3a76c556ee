# cython: language_level=3, annotation_typing=False
"""Writes and reads the frames between an edge (encrypted transports) and the service, over their Unix stream socket.

Rules:
- A frame is a u32 length of what follows, a u8 kind, and a body; numbers are big endian.
- "Q", a query, edge to service: u32 number, u8 transport (index in core.codes.TRANSPORTS, encrypted ones alone), 16
  octets client (IPv4 mapped), the DNS message (12 to 65535 octets).
- "A", its answer, service to edge: u32 number, u32 max_age, the DNS message; empty if no answer is given. max_age: for
  how many seconds an HTTP cache of this client alone may keep it (RFC 8484 5.1), MAX_AGE_NONE if none may.
- "R", a report, edge to service, first of all, every REPORT_S and at a change: JSON, its counts since the edge began.
  It has no text but the words of this module, and nothing of a client.
- Two releases of edge and service may meet while a package changes. FRAMES goes up with each change of a frame, and a
  report says it: a service of another number sends the edge away. So the report stays a JSON object under "R", with the
  keys `number` and `frames`, in every release.
- Answers come in any order. An edge has at most MOST_UNANSWERED queries without an answer; beyond it nothing is read.
- A frame that is not one of these is malformed, and ends the connection.
- This module is compiled (types in its .pxd): each query over an encrypted transport passes it twice.
"""

import json
from collections.abc import Collection, Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from resolver.core.codes import (
    EDGE_ANSWER,
    EDGE_ANSWER_OCTETS,
    EDGE_LENGTH_OCTETS,
    EDGE_MAX_AGE_NONE,
    EDGE_MOST_OCTETS,
    EDGE_QUERY,
    EDGE_QUERY_OCTETS,
    ENCRYPTED,
    TRANSPORTS,
)

FRAMES: Final = 1
"""The version of these frames."""
QUERY: Final = EDGE_QUERY
ANSWER: Final = EDGE_ANSWER
REPORT: Final = ord("R")
MAX_AGE_NONE: Final = EDGE_MAX_AGE_NONE
QUERY_HEAD: Final = EDGE_LENGTH_OCTETS + 1 + EDGE_QUERY_OCTETS
"""Octets of a query's frame before the message."""
MOST_OCTETS: Final = EDGE_MOST_OCTETS
MOST_REPORT_OCTETS: Final = 4096
MOST_UNANSWERED: Final = 28_672
"""More than may wait for upstreams (forward_waiters.MAX_WAITING, and WAITERS of engine.relay), for there clients share
the places: with fewer, somebody's slow queries would hold up what lists and cache answer to others."""
REPORT_S: Final = 10.0

REFUSALS: Final = (
    "not_allowed",
    "connection_limit",
    "proxy",
    "handshake",
    "slow",
    "protocol",
    "request",
    "flood",
    "service",
)
"""Why an edge refuses a connection or a request.

not_allowed: the client is not in listen.allow. connection_limit: it, or all together, have too many connections. proxy:
a PROXY header that is missing, malformed or from a stranger. handshake: TLS or QUIC did not come about. slow: too long
without a handshake, a query, or reading the answers. protocol: what came is no DNS in its framing. request: HTTP that
is no DNS query. flood: more streams, resets or headers than are borne. service: the service gave no answer in time.
"""

_LENGTH: Final = Struct(">I")
_KIND: Final = Struct(">IB")
_QUERY: Final = Struct(">IB16s")
_QUERIED: Final = Struct(">IBIB16s")
_ANSWER: Final = Struct(">II")
_ANSWERED: Final = Struct(">IBII")
_ANSWERED_OCTETS: Final = EDGE_LENGTH_OCTETS + 1 + EDGE_ANSWER_OCTETS
_ANSWER_BEGINS: Final = 1 + EDGE_ANSWER_OCTETS
_QUERY_BEGINS: Final = 1 + EDGE_QUERY_OCTETS
_LEAST_OCTETS: Final = 12
_LARGEST_OCTETS: Final = 65535
_LEAST_ANSWER: Final = _ANSWER_BEGINS + _LEAST_OCTETS
_LARGEST_ANSWER: Final = _ANSWER_BEGINS + _LARGEST_OCTETS
_MOST_OF_A_COUNT: Final = 2**53 - 1
_MOST_EDGES: Final = 1024
_LABELS: Final = tuple(TRANSPORTS[one] for one in ENCRYPTED)
_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_LAST_DATE: Final = 253402300799  # 9999-12-31T23:59:59Z, the last that a certificate can say (RFC 5280 4.1.2.5)

class Malformed(ValueError):
    """What came is no frame; the connection ends. Its text is a constant."""


class OtherRelease(Malformed):
    """An edge whose frames are not ours. Its text has numbers and our own words alone."""


class Query(NamedTuple):
    """A query as an edge hands it over. transport: index in core.codes.TRANSPORTS. client: 16 octets."""

    number: int
    transport: int
    client: bytes
    message: bytes


class Answer(NamedTuple):
    """The service's answer to the query with this number; message: b"" if none is given."""

    number: int
    max_age: int
    message: bytes


class Report(NamedTuple):
    """What an edge says of itself; what is left out is 0.

    number: its own, from 1. expires: the end of its certificate in unix seconds, None without one. connections: those
    open now, by transport. handshakes: those that came about. refused: by REFUSALS. frames: the version of its frames.
    """

    number: int
    expires: int | None
    connections: Mapping[str, int] = _NONE
    handshakes: int = 0
    refused: Mapping[str, int] = _NONE
    frames: int = FRAMES


def query(number: int, transport: int, client: bytes, message: bytes) -> bytes:
    """Return the frame of a query; ValueError if it would be malformed."""
    if transport not in ENCRYPTED or len(client) != 16:
        raise ValueError("transport or client: not those of an encrypted query")
    if not _LEAST_OCTETS <= len(message) <= _LARGEST_OCTETS:
        raise ValueError("message: neither a DNS query nor part of one")
    return _QUERIED.pack(_QUERY_BEGINS + len(message), QUERY, number, transport, client) + message


def answer(number: int, max_age: int, message: bytes) -> bytes:
    """Return the frame of an answer; message: b"" if none is given."""
    return _framed(ANSWER, _ANSWER.pack(number, max_age) + message)


def report(one: Report) -> bytes:
    """Return the frame of a report; ValueError if the service would not take it."""
    said = one._asdict() | {"connections": dict(one.connections), "refused": dict(one.refused)}
    body = json.dumps(said, separators=(",", ":")).encode()
    try:
        as_report(body)
    except Malformed as error:
        raise ValueError(str(error)) from None
    return _framed(REPORT, body)


def _framed(kind: int, body: bytes) -> bytes:
    return _KIND.pack(1 + len(body), kind) + body


def length_of(octets: bytes | bytearray) -> int:
    """Return how many octets the frame at the head of `octets` has, its length included; 0 while that is unknown.

    Malformed if no frame has this length.
    """
    if len(octets) < EDGE_LENGTH_OCTETS:
        return 0
    (size,) = _LENGTH.unpack_from(octets)
    if not 1 <= size <= MOST_OCTETS:
        raise Malformed("a frame of a length that none has")
    return int(EDGE_LENGTH_OCTETS + size)


def take(unread: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole frames off the head of what has come; return kind and body of each. Malformed if one is none.

    At most MOST_OCTETS stay in `unread`.
    """
    found, at = [], 0
    while True:
        head = unread[at : at + EDGE_LENGTH_OCTETS]
        size = length_of(head)
        if size == 0 or len(unread) - at < size:
            break
        start = at + EDGE_LENGTH_OCTETS
        found.append((unread[start], bytes(unread[start + 1 : at + size])))
        at += size
    del unread[:at]
    return found


def answers(unread: bytearray) -> list[tuple[int, int, bytes]]:
    """Take the whole answers off the head of what has come; return number, max_age and message of each, as
    `as_answer` does. Malformed if anything else is there, even behind answers.

    At most MOST_OCTETS stay in `unread`.
    """
    found, at, octets = [], 0, bytes(unread)
    end = len(octets)
    while end - at >= _ANSWERED_OCTETS:
        size, kind, number, max_age = _ANSWERED.unpack_from(octets, at)
        if kind != ANSWER or not _is_of_an_answer(size):
            raise Malformed("a frame that is no answer")
        start = at + EDGE_LENGTH_OCTETS
        if end - start < size:
            break
        found.append((number, max_age, octets[at + _ANSWERED_OCTETS : start + size]))
        at = start + size
    if end - at >= EDGE_LENGTH_OCTETS and not _is_of_an_answer(_LENGTH.unpack_from(octets, at)[0]):
        raise Malformed("a frame of a length that no answer has")
    del unread[:at]
    return found


def _is_of_an_answer(size: int) -> bool:
    return size == _ANSWER_BEGINS or _LEAST_ANSWER <= size <= _LARGEST_ANSWER


def as_query(body: bytes) -> Query:
    """Return the query of a frame with this body, or raise Malformed."""
    if not EDGE_QUERY_OCTETS + _LEAST_OCTETS <= len(body) <= EDGE_QUERY_OCTETS + _LARGEST_OCTETS:
        raise Malformed("a query of a length that none has")
    number, transport, client = _QUERY.unpack_from(body)
    if transport not in ENCRYPTED:
        raise Malformed("a query over a transport that is no edge's")
    return Query(number, transport, client, body[EDGE_QUERY_OCTETS:])


def as_answer(body: bytes) -> Answer:
    """Return the answer of a frame with this body, or raise Malformed."""
    size = len(body) - EDGE_ANSWER_OCTETS
    if size != 0 and not _LEAST_OCTETS <= size <= _LARGEST_OCTETS:
        raise Malformed("an answer of a length that none has")
    number, max_age = _ANSWER.unpack_from(body)
    return Answer(number, max_age, body[EDGE_ANSWER_OCTETS:])


def as_report(body: bytes) -> Report:
    """Return the report of a frame with this body; Malformed, and OtherRelease if its frames are of another version."""
    if len(body) > MOST_REPORT_OCTETS:
        raise Malformed("a report that is too long")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        # What it holds may be anything: no word of it goes on.
        raise Malformed("a report that is no JSON") from None
    _refuse_other_release(said)
    if not isinstance(said, dict) or said.keys() != set(Report._fields):
        raise Malformed("a report without the fields of one")
    one = Report(**said)
    if not _is_count(one.number, _MOST_EDGES) or one.number < 1 or not _is_count(one.handshakes):
        raise Malformed("a report with a number that is none")
    if one.expires is not None and not _is_count(one.expires, _LAST_DATE):
        raise Malformed("a report with a date that is none")
    if not _are_counts(one.connections, _LABELS) or not _are_counts(one.refused, REFUSALS):
        raise Malformed("a report with words that are none of ours, or without their counts")
    return one


def _refuse_other_release(said: Any) -> None:
    """OtherRelease if a report says another version of its frames; whatever else it says may be unknown here."""
    if not isinstance(said, dict):
        return
    number, frames = said.get("number"), said.get("frames")
    if _is_count(number, _MOST_EDGES) and _is_count(frames) and frames != FRAMES:
        raise OtherRelease(f"edge {number} has frames of version {frames}, the service {FRAMES}: restart that edge")


def _is_count(value: Any, most: int = _MOST_OF_A_COUNT) -> bool:
    return type(value) is int and 0 <= value <= most


def _are_counts(value: Any, words: Collection[str]) -> bool:
    return isinstance(value, dict) and value.keys() <= set(words) and all(map(_is_count, value.values()))
