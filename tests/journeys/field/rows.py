"""One row of the table of field cases, and the octets that an upstream says to it.

Rules:
- A row is one example of a kind: its number stands for the kind, a letter behind it for a neighbour.
- Each row has a name of its own for each transport, so that no two share a kept answer; `{}` stands for it.
- `says` is what has to come, in the words of `reading`; `now` in the table is made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.fakes.octets import Asked, Says
from tests.journeys.cases.packets import opt, record

UDP, TCP = "udp", "tcp"
OWNER: Final = b"\xc0\x0c"
ADDRESS: Final = bytes([198, 51, 100, 7])
SECRET: Final = bytes([203, 0, 113, 66])
"""The real address of a listed name."""
SECRET_OCTETS: Final = SECRET[:3]
"""With which the real data of listed names begin, and nothing else that an upstream says here."""

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, NAPTR, DNAME = 1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 39
DS, RRSIG, DNSKEY, HTTPS, TSIG = 43, 46, 48, 65, 250
RIGHT: Final = "NOERROR; A 198.51.100.7 (300 s)"
PAGE: Final = "NOERROR; A 192.0.2.1 (60 s); EDE 4"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question of a row: how it is asked, what has to come, and how long to wait before."""

    says: str | tuple[str, ...]
    kind: str = "A"
    form: str = "edns"
    name: str = ""
    wait_s: float = 0.0

    @property
    def allowed(self) -> tuple[str, ...]:
        return (self.says,) if isinstance(self.says, str) else self.says


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case: where it was reported, what comes, what we said, what has to come now.

    exchanges: how often the upstream may be asked in all, over one transport of the client's; None where it does not
    matter. unlisted: names are asked that nobody listed, so that it is a row of the comparison with peers.
    """

    case: str
    source: str
    comes: str
    before: str
    says: Says
    asks: tuple[Ask, ...]
    name: str = "{}.field.test"
    exchanges: int | None = None
    over: tuple[str, ...] = (UDP, TCP)
    unlisted: bool = True

    def name_of(self, ask: Ask, tag: str) -> str:
        """The name that a question of the row asks for."""
        return (ask.name or self.name).format(f"c{self.case}-{tag}".lower())

    @property
    def now(self) -> str:
        """What comes, in one cell."""
        words = list(dict.fromkeys(" or ".join(ask.allowed) for ask in self.asks))
        often = {None: "", 0: "; upstream never asked", 1: "; upstream asked once"}
        return ", then ".join(words) + often.get(self.exchanges, f"; upstream asked {self.exchanges} times")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A case that needs a configuration, an order or a clock of its own: `test` plays it, and `now` is what it sees."""

    case: str
    source: str
    comes: str
    before: str
    now: str
    test: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The parts of a reply, each record in octets."""

    answer: Sequence[bytes] = ()
    authority: Sequence[bytes] = ()
    additional: Sequence[bytes] = ()
    rcode: int = 0
    flags: int = 0x8180
    question: bool = True
    options: Sequence[bytes] = ()
    edns: bool | None = None
    more: Sequence[int] = field(default=(0, 0, 0))
    after: bytes = b""

    def to(self, asked: Asked) -> bytes:
        """The message to a query; `more` is what the counts say beyond what is there."""
        edns = asked.edns if self.edns is None else self.edns
        last = [opt(*self.options, flags=0x8000 if asked.dnssec_ok else 0)] if edns else []
        sections = (self.answer, self.authority, [*self.additional, *last])
        counts = [len(section) + more for section, more in zip(sections, self.more, strict=True)]
        head = asked.wire[:2] + (self.flags | self.rcode).to_bytes(2, "big") + int(self.question).to_bytes(2, "big")
        body = asked.question if self.question else b""
        records = b"".join(b"".join(section) for section in sections)
        return head + b"".join(count.to_bytes(2, "big") for count in counts) + body + records + self.after


def rr(kind: int, data: bytes, *, owner: bytes = OWNER, ttl: int = 300, rdclass: int = 1) -> bytes:
    """One record, owned by the name asked for unless another is given."""
    return record(owner, kind, data, ttl=ttl, rdclass=rdclass)


def always(reply: Reply) -> Says:
    """The same reply each time, over both transports."""
    return lambda asked: [reply.to(asked)]


def cut_to(reply: Reply) -> Says:
    """TC=1 over UDP, the reply over TCP."""
    return by(Reply(flags=0x8380), reply)


def by(udp: Reply | None, tcp: Reply | None) -> Says:
    """A reply for each transport; None is silence, over TCP the end of the connection."""

    def says(asked: Asked) -> list[bytes]:
        reply = udp if asked.over == UDP else tcp
        return [reply.to(asked)] if reply else []

    return says


def without_edns(first: Reply) -> Says:
    """This reply to a query with EDNS, the right one to a query without."""
    return lambda asked: [(first if asked.edns else Reply(answer=[rr(A, ADDRESS)])).to(asked)]


def then(*replies: Says) -> Says:
    """One way after the other, for each question; the last goes on."""
    return lambda asked: replies[min(asked.turn, len(replies) - 1)](asked)
