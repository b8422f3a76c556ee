"""Asks what the rows of field cases ask, and answers what their upstream says.

Rules:
- A row has a name for each tag, so that nobody meets what another has kept: a transport, or a resolver.
- A client takes a truncated answer again over TCP, as clients do; what it sees then counts.
- Each question of a row is asked by every way before the next: they share the time that a row has to wait.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import dns.edns
import dns.flags
import dns.message

from tests.fakes.octets import Asked, OctetsUpstream
from tests.journeys.field import reading, rows_reply, table
from tests.journeys.field.rows import ADDRESS, SECRET_OCTETS, SOA, TCP, A, Ask, Reply, Row, rr
from tests.journeys.processes import exchange

SECONDS: Final = 8.0
SHOWN: Final = 400
AGAIN_S: Final = 0.1
"""Less than the resolver waits before it asks an upstream again."""
TRUNCATED: Final = 2
_KEEPALIVE: Final = dns.edns.GenericOption(11, b"")


def names(tags: Sequence[str]) -> dict[str, Row]:
    """Each name that a row asks for, in lower case and without the last dot, and its row."""
    return {
        row.name_of(ask, tag).lower().rstrip("."): row for row in table.ROWS for ask in row.asks for tag in tags
    }


def entries(tags: Sequence[str]) -> list[str]:
    """The list: one listed name, and what the rows about validators need."""
    lines = ["listed.test"]
    for name in names(tags):
        if name.startswith("self-"):
            lines.append(f"={name}")
        elif name.startswith("except-"):
            lines += [name, f"!good.{name}"]
        elif name.startswith("whole-"):
            lines.append(name)
    return lines


class Script:
    """Answers each name as its row says, and every other rightly."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._rows = names(tags)

    def __call__(self, asked: Asked) -> Sequence[bytes]:
        row = self._rows.get(asked.name.rstrip("."))
        return row.says(asked) if row else [_otherwise(asked).to(asked)]


def _otherwise(asked: Asked) -> Reply:
    """The right answer to what is no row's: an address, a SOA, or nothing."""
    if asked.kind == "A":
        return Reply(answer=[rr(A, ADDRESS)])
    soa = rr(SOA, rows_reply.SOA_DATA)
    return Reply(answer=[soa]) if asked.kind == "SOA" else Reply(authority=[rows_reply.SOA_RR])


def query_for(name: str, ask: Ask) -> bytes:
    """A query's octets, in the form of a question."""
    form = ask.form
    query = dns.message.make_query(name, ask.kind, use_edns=0, want_dnssec=form.startswith("do"), payload=1232)
    if form in ("plain", "ad"):
        query.use_edns(False)
    if form == "keepalive":
        query.use_edns(0, payload=1232, options=[_KEEPALIVE])
    query.flags = 0 if form == "rd-0" else dns.flags.RD
    query.flags |= dns.flags.AD if form.endswith("ad") else 0
    query.flags |= dns.flags.CD if form.endswith("cd") else 0
    return query.to_wire()


def play(
    row: Row,
    ways: Mapping[str, Callable[[bytes], bytes | None]],
    upstream: OctetsUpstream,
    forms: Mapping[str, str] | None = None,
) -> None:
    """Ask the questions of a row by each of these ways, by its tag, and hold what comes against the row.

    forms: the form of each question by a way that wants another than the row's.
    """
    before, longest = len(upstream.asked), 0.0
    for number, written in enumerate(row.asks):
        threading.Event().wait(written.wait_s)  # The time of an answer is the wall's: there is no other way.
        for tag, answer in ways.items():
            ask = replace(written, form=(forms or {}).get(tag, written.form))
            name = row.name_of(ask, tag)
            query = query_for(name, ask)
            since = time.monotonic()
            reply = answer(query)
            longest = max(longest, time.monotonic() - since)
            assert reply is not None, f"{tag}, question {number}: {query.hex()} no answer"
            allowed = [one.format(name=name.rstrip("."), there=name.replace("branch", "there")) for one in ask.allowed]
            came = reading.said(query, reply)
            assert came in allowed, f"{tag}, question {number}: {query.hex()} {reply.hex()[:SHOWN]}"
            assert SECRET_OCTETS not in reply
    for tag in ways if row.exchanges is not None else ():
        often = count(upstream.asked[before:], row, tag)
        # On a machine so busy that an answer took so long, the upstream may have been asked once more.
        is_sure = longest < AGAIN_S or not row.exchanges
        assert often == row.exchanges or (often > row.exchanges and not is_sure), f"{tag}: {often} exchanges"


def answer_to(port: int, query: bytes, over: str) -> bytes:
    """What a client sees in the end."""
    reply = exchange(port, query, over=over, seconds=SECONDS)
    if over == TCP or not reply[2] & TRUNCATED:
        return reply
    return exchange(port, query, over=TCP, seconds=SECONDS)


def count(asked: Iterable[Asked], row: Row, tag: str) -> int:
    """How often the row's names were asked for, and nothing else of an upstream's."""
    wanted = {row.name_of(ask, tag).lower().rstrip(".") for ask in row.asks}
    return sum(one.name.rstrip(".") in wanted for one in asked)
