"""The way of a query without sockets: lists from lines, tables from lists, an upstream that is a function.

Rules:
- A line is an entry as a list has it: `name`, `=name`, `!name`.
- The clock is a number that the test moves; nothing here waits.
- `House.ask` takes the real steps of resolver.query.answer; only the exchange with upstream is the test's.
"""

import asyncio
import contextlib
import ipaddress
import os
import random
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

from resolver.config import for_core
from resolver.config.config import Config, Limits, Listen, Page
from resolver.config.lists import List, Source
from resolver.config.values import address_octets, prefixes
from resolver.core import admit, codes, entries, image, policy, sketch, store, tally
from resolver.core.crash_shape import Shape
from resolver.core.lane import MAX_OCTETS, Lane, Tables
from resolver.core.local_zones import Zones
from resolver.core.question import Question
from resolver.query.answer import Answer
from resolver.query.cache import Cache
from resolver.query.forward import Outcome, Unanswered, build_query
from resolver.query.transport import Transport

KEY = bytes(range(16))
CLIENT = address_octets("192.0.2.10")
EXEMPT = address_octets("192.0.2.99")
STRANGER = address_octets("203.0.113.1")
PAGE_V4, PAGE_V6 = "192.0.2.1", "2001:db8::1"
SOA = "ns.example. nobody.example. 1 3600 1200 604800 60"

Message = dns.message.Message
Reply = Callable[[Message], Message | bytes]
Lists = Sequence[Sequence[str]]


def octets_of(name: str) -> bytes:
    """A name in wire format, folded."""
    return dns.name.from_text(name).canonicalize().to_wire()


def image_of(lines: Iterable[str], serial: int = 1) -> memoryview:
    """The view of the image of a list of these lines."""
    names, flags = b"", b""
    for line in lines:
        bits = codes.BLOCK_SELF | codes.BLOCK_BELOW
        if line[0] in "=!":
            bits = codes.BLOCK_SELF if line[0] == "=" else codes.EXCEPT_SELF | codes.EXCEPT_BELOW
        names += octets_of(line.lstrip("=!"))
        flags += bits.to_bytes(2, "little")
    made = entries.write(
        names, flags, KEY, list_id="one", serial=serial, issued=1, expires=0, generation=1, selftest=b"s" * 26
    )
    view: memoryview = image.view(made)
    return view


def config(
    lists: int = 1,
    *,
    allow: Sequence[str] = ("192.0.2.0/24", "2001:db8::/32"),
    exempt: Mapping[int, str] | None = None,
    rate: int = 0,
    budget: int = 0,
    answer: Literal["page", "nodata", "nxdomain"] = "page",
    unlimited: Sequence[str] = (),
) -> Config:
    """A configuration of so many lists; `exempt` names for a list's slot the prefix that it spares."""
    source = Source(kind="file", url="file:///srv/list.txt", root="/srv/list.pub")
    spared = {slot: prefixes(prefix) for slot, prefix in (exempt or {}).items()}
    return Config(
        lists=tuple(
            List(id=f"list-{slot}", source=source, answer=answer, exempt=spared.get(slot, ()))
            for slot in range(lists)
        ),
        listen=Listen(allow=prefixes(*allow)),
        limits=Limits(queries_per_second=rate, distinct_blocked=budget, exempt=prefixes(*unlimited)),
        page=Page(addresses=(ipaddress.ip_address(PAGE_V4), ipaddress.ip_address(PAGE_V6))),
    )


def generation(
    number: int,
    lists: Lists,
    answer: Literal["page", "nodata", "nxdomain"] = "page",
    released: Sequence[Sequence[str]] = (),
) -> policy.Generation:
    """These lists, in this order, as one generation, and lists of exceptions that are released from all."""
    images = {f"list-{slot}": for_core.Image(image_of(lines)) for slot, lines in enumerate(lists)}
    return for_core.generation(number, KEY, config(len(lists), answer=answer), images, map(image_of, released))


def access(
    *,
    allow: Sequence[str] = ("192.0.2.0/24", "2001:db8::/32"),
    exempt: Mapping[int, str] | None = None,
    rate: int = 0,
    budget: int = 0,
    unlimited: Sequence[str] = (),
) -> admit.Access:
    """Who may ask; `exempt` names for a list's slot the prefix that it spares, `unlimited` who has no limit."""
    buckets = bytearray(admit.BUCKET_OCTETS * admit.WAYS * 16)
    asked = config(codes.MAX_LISTS, allow=allow, exempt=exempt, rate=rate, budget=budget, unlimited=unlimited)
    return for_core.access(asked, buckets, KEY)


def tables(
    number: int,
    lists: Lists = ((),),
    *,
    exempt: Mapping[int, str] | None = None,
    complete: bool = True,
    rate: int = 0,
    budget: int = 0,
    answer: Literal["page", "nodata", "nxdomain"] = "page",
) -> Tables:
    """These lists in force under this generation's number."""
    judging = generation(number, lists, answer)
    return tables_of(judging, access(exempt=exempt, rate=rate, budget=budget), complete=complete)


def tables_of(judging: policy.Generation, allowed: admit.Access, *, complete: bool = True) -> Tables:
    """These lists and this ACL in force, with memory that a House replaces by its own."""
    cache = Cache(store.Store(bytearray(store.SMALLEST_OCTETS), KEY))
    return Tables(
        judging,
        allowed,
        complete,
        Zones(),
        store=cache.memory,
        shares=cache.shares,
        tally=tally.Tally(bytearray(tally.TABLES * 64), KEY),
        asked=sketch.Sketch(bytearray(2 * sketch.SET_OCTETS), KEY),
    )


class Upstream:
    """Stands where resolver.query.forward stands: answers by a function, now or once `release` is called."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[Message] = []
        self.refreshed: list[Message] = []
        self.failure: Exception | None = None
        self.out_of_patience = False
        self.patience_s: float | None = None
        self.up = True
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        """Let everybody wait from now on."""
        self._open.clear()

    def release(self) -> None:
        """Let everybody go on."""
        self._open.set()

    async def exchange(
        self,
        packet: bytes,
        question: Question,
        digest: tuple[int, int],
        outcome: Outcome,
        patience_s: float | None = None,
        client: bytes = b"",
        handed: object = None,
    ) -> bytes:
        """Return what the function says to the query, each caller by an exchange of its own."""
        del digest, client, handed
        self.patience_s = patience_s
        if self.out_of_patience:
            raise TimeoutError
        query = dns.message.from_wire(build_query(packet, question))
        self.asked.append(query)
        await self._open.wait()
        return self._end(query, outcome)

    def refresh(self, packet: bytes, question: Question, digest: tuple[int, int], outcome: Outcome) -> None:
        """Ask for nobody; the function's answer is there at once."""
        del digest
        query = dns.message.from_wire(build_query(packet, question))
        self.refreshed.append(query)
        with contextlib.suppress(Unanswered):
            self._end(query, outcome)

    def group_of(self, question: Question) -> Any:
        """The one group, that of names in no zone."""
        del question
        return SimpleNamespace(zone="", any_up=lambda: True)

    def is_probe(self, question: Question) -> bool:
        """Tell whether the question is a probe of upstream's; there are none here."""
        del question
        return False

    def is_up_for(self, question: Question) -> bool:
        """Tell whether a server is up."""
        del question
        return self.up

    def _end(self, query: Message, outcome: Outcome) -> bytes:
        if self.failure:
            if isinstance(self.failure, Unanswered):
                outcome(self.failure)
            raise self.failure
        said = self.reply(query)
        octets = said if isinstance(said, bytes) else said.to_wire(max_size=65535)
        outcome(octets)
        return octets


class House:
    """An Answer with all its parts; `now` is its clock in seconds. tally_octets: the size of each table that counts;
    octets: the memory of the cache. seats: how many queries the lane takes together. seen: for a test's eyes."""

    def __init__(
        self,
        reply: Reply,
        in_force: Tables,
        *,
        stale_s: int = 0,
        tally_octets: int = 2**14,
        octets: int = 2**18,
        seats: int = 0,
    ) -> None:
        self.now = 1000.0
        self.counters = array("Q", bytes(8 * codes.COUNTERS_SIZE))
        self.numbers = memoryview(bytearray(64)).cast("q")
        self.upstream = Upstream(reply)
        self.tally = tally.Tally(bytearray(tally.TABLES * tally_octets), KEY)
        self.cache = Cache(store.Store(bytearray(octets), KEY, stale_s))
        self.seen = store.Kept()
        self.asked = sketch.Sketch(bytearray(2**16), KEY)
        outs = [memoryview(bytearray(MAX_OCTETS)) for _ in range(seats)]
        self.lane = Lane(self.counters, Shape(self.numbers), outs)
        self.answer = Answer(
            self.owned(in_force), lane=self.lane, forward=self.upstream, clock=lambda: self.now
        )

    def swap(self, in_force: Tables) -> None:
        """Put other tables in force."""
        self.answer.tables = self.owned(in_force)

    def owned(self, in_force: Tables) -> Tables:
        """These tables with the memory of this house."""
        owned: Tables = in_force.replaced(
            store=self.cache.memory, shares=self.cache.shares, tally=self.tally, asked=self.asked
        )
        return owned

    async def send(self, packet: bytes, client: bytes = CLIENT, *, over: Transport = Transport.UDP) -> bytes | None:
        """The reply to these octets."""
        said = self.answer.answer(packet, client, over)
        return said if said is None or isinstance(said, bytes) else await said

    async def ask(self, query: Message, client: bytes = CLIENT, *, over: Transport = Transport.UDP) -> Message:
        """The reply to a query; there must be one, and it must be the query's."""
        octets = await self.send(query.to_wire(), client, over=over)
        assert octets is not None
        reply = dns.message.from_wire(octets)
        assert reply.id == query.id
        return reply

    def count(self, metric: str, label: str) -> int:
        """One of the fixed counters."""
        return self.counters[codes.counter(metric, label)]

    def blocked(self, slot: int = 0) -> int:
        """The blocked queries of a list."""
        return self.counters[codes.list_counter(slot, codes.BLOCKED_QUERIES)]


def query(
    name: str, kind: str = "A", *, edns: bool = True, do: bool = False, flags: str = "RD", **more: int
) -> Message:
    """A query with these flags and a random id."""
    made = dns.message.make_query(name, kind, use_edns=0 if edns else False, want_dnssec=do, **more)
    made.flags = dns.flags.from_text(flags)
    made.id = random.getrandbits(16)
    return made


def reply_of(
    asked: Message, answer: Sequence[str] = (), authority: Sequence[str] = (), additional: Sequence[str] = ()
) -> Message:
    """A reply with these records, each written `owner ttl type rdata`."""
    made = dns.message.make_response(asked, recursion_available=True)
    for section, lines in ((made.answer, answer), (made.authority, authority), (made.additional, additional)):
        for line in lines:
            owner, ttl, kind, rdata = line.split(" ", 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, rdata))
    return made


def says(
    answer: Sequence[str] = (),
    authority: Sequence[str] = (),
    additional: Sequence[str] = (),
    rcode: int = 0,
    flags: str = "",
) -> Reply:
    """An upstream that says the same to every query, with these flags set beside the usual ones."""

    def reply(asked: Message) -> Message:
        made = reply_of(asked, answer, authority, additional)
        made.set_rcode(dns.rcode.Rcode(rcode))
        made.flags |= dns.flags.from_text(flags)
        return made

    return reply


def texts(message: Message) -> list[str]:
    """The records of ANSWER as text."""
    return [line for rrset in message.answer for line in rrset.to_text().split("\n")]


def addresses(message: Message) -> list[str]:
    """The addresses in ANSWER."""
    return [line.split()[-1] for line in texts(message) if line.split()[3] in ("A", "AAAA")]


def errors(message: Message) -> list[int]:
    """The extended errors of a reply."""
    return [int(one.code) for one in message.options if isinstance(one, dns.edns.EDEOption)]


def open_sockets() -> int:
    """How many sockets this process has open; a loop's own files are not among them."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return found


async def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Let the loop go on until `holds` is true; fails after so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("what was waited for did not come")
