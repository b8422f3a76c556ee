"""Draws what two resolvers are asked: packets of every kind, from every kind of client, always the same for a seed.

Rules:
- Two questions for one name are never in flight at the same time, since which of two comes first would decide what is
  kept; nor are two with one id.
- A question whose packet must get no answer says so: RFC 1035 and the PROXY protocol say which these are.
- Every name is made up: labels of parity/wires, below example, test or nothing.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.journeys.processes import header_of
from tests.parity import make_corpus, wires
from tests.soak.upstream import CLEAN, CORPUS_NAMES, LISTED, SAYINGS

PLACES = (
    ("127.0.0.2", False), ("127.0.0.2", False), ("127.0.0.2", False), ("127.0.0.9", False), ("::1", False),
    ("::1", False), ("127.0.0.3", True), ("127.0.0.3", True),
)  # fmt: skip
"""The sockets of a client: its address, and whether it is a load balancer's."""

_WEIGHTS = (5, 5, 5, 1, 5, 5, 5, 5)

ALLOWED = ("127.0.0.2/32", "::1/128", "192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32")
EXEMPT = ("127.0.0.0/8", "::1/128", "192.0.2.0/24", "2001:db8::/32")
BALANCER = "127.0.0.3/32"
_BEHIND = ("192.0.2.7", "192.0.2.200", "198.51.100.20", "203.0.113.9", "2001:db8::7", "2001:db8:ffff::1", "127.0.0.2")
_LOCAL = header_of("192.0.2.7")[:12] + b"\x20\0\0\0"
_CORPUS = tuple(path.read_bytes() for path in sorted(make_corpus.FOLDER.glob("query-*.bin")))
_TYPES = (1, 1, 1, 1, 28, 28, 65, 64, 16, 5, 15, 255)
_HOUSE = ("localhost", "a.localhost", "invalid", "7.2.0.192.in-addr.arpa", "resolver.arpa", "x.onion", "test")
_HEADER = 12


@dataclass(frozen=True)
class Question:
    """A packet, what stands before it (PROXY v2), the socket that it leaves by, and what it is."""

    kind: str
    place: int
    header: bytes
    packet: bytes
    silent: bool

    @cached_property
    def name(self) -> bytes:
        """The name asked for, in lower case, as far as it can be read; empty without one."""
        at = _HEADER
        while at < len(self.packet) and 0 < self.packet[at] < 64:
            at += self.packet[at] + 1
        return self.packet[_HEADER:at].lower()


class Questions:
    """All questions of a seed, without end."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._known = tuple(_labels(name) for name in LISTED)
        self._kinds = {
            self._listed: 20, self._said: 60, self._drawn: 25, self._of_corpus: 8, self._house: 4, self._garbage: 2,
            self._name_of_corpus: 6,
        }  # fmt: skip
        self._put_off: list[Question] = []

    def next(self, in_flight: Collection[Question]) -> Question:
        """The next question that may be asked beside those in flight; those that may not come later."""
        names, ids = {one.name for one in in_flight if one.name}, {one.packet[:2] for one in in_flight}
        for one in self._put_off:
            if one.name not in names and one.packet[:2] not in ids:
                self._put_off.remove(one)
                return one
        while True:
            one = self._one()
            if one.name not in names and one.packet[:2] not in ids:
                return one
            self._put_off.append(one)

    def _one(self) -> Question:
        draw = self._draw
        kind, packet = draw.choices([*self._kinds], [*self._kinds.values()])[0]()
        place = draw.choices(range(len(PLACES)), _WEIGHTS)[0]
        header, heard = b"", True
        if PLACES[place][1]:
            header, heard = self._proxied()
        silent = not heard or len(packet) < _HEADER or bool(packet[2] & 0x80)
        return Question(kind, place, header, packet, silent)

    def _proxied(self) -> tuple[bytes, bool]:
        """A header, and whether the packet behind it is read."""
        draw, many = self._draw, self._draw.random()
        if many < 0.9:
            return header_of(draw.choice(_BEHIND)), True
        if many < 0.95:
            return _LOCAL, True
        whole = header_of(draw.choice(_BEHIND))
        return draw.choice((b"", whole[:11] + b"\x0b" + whole[12:], whole[:12] + b"\x31" + whole[13:])), False

    def _listed(self) -> tuple[str, bytes]:
        return "near a listed name", self._asked(wires.near(self._draw, self._known))

    def _said(self) -> tuple[str, bytes]:
        """A name that says what the upstream does; some are asked again and again."""
        draw = self._draw
        # Half of them what a thread of the engine may take by itself.
        way = draw.choice(CLEAN if draw.random() < 0.5 else tuple(SAYINGS)).decode()
        number = draw.randrange(130 if draw.random() < 0.5 else 100_000)
        above = draw.choice(((b"example",), (b"test",), (b"deep", b"below", b"example")))
        return f"upstream says {way}", self._asked([f"{way}{number}".encode(), *above])

    def _drawn(self) -> tuple[str, bytes]:
        return "drawn by parity", wires.query(self._draw, self._known)

    def _of_corpus(self) -> tuple[str, bytes]:
        packet = self._draw.choice(_CORPUS)
        return "parity's corpus", self._draw.randbytes(2) + packet[2:] if packet else self._draw.randbytes(1)

    def _name_of_corpus(self) -> tuple[str, bytes]:
        return "a reply of parity's corpus", self._asked(_labels(self._draw.choice(CORPUS_NAMES)))

    def _house(self) -> tuple[str, bytes]:
        return "a local zone", self._asked(_labels(self._draw.choice(_HOUSE)))

    def _garbage(self) -> tuple[str, bytes]:
        return "octets of chance", self._draw.randbytes(self._draw.randrange(2, 60))

    def _asked(self, labels: Sequence[bytes]) -> bytes:
        draw = self._draw
        name = wires.wire([_drawn_case(draw, one) if draw.random() < 0.3 else one for one in labels])
        flags = draw.choices((0x01, 0x00, draw.randrange(256)), (90, 5, 5))[0]
        more = draw.choices((0, 0x10, 0x20, 0x30, draw.randrange(256)), (60, 12, 12, 12, 4))[0]
        opts = draw.choices((0, 1, 2), (30, 68, 2))[0]
        extra = b"".join(_sound_opt(draw) if draw.random() < 0.9 else wires.opt(draw) for _ in range(opts))
        klass = draw.choices((1, 3, 255), (96, 2, 2))[0]
        head = draw.randbytes(2) + bytes([flags, more]) + b"\0\1\0\0\0\0" + opts.to_bytes(2, "big")
        packet = head + name + draw.choice(_TYPES).to_bytes(2, "big") + klass.to_bytes(2, "big") + extra
        return wires.damaged(draw, packet) if draw.random() < 0.05 else packet


def _sound_opt(draw: random.Random) -> bytes:
    size = draw.choice((0, 512, 1232, 1400, 4096, 65535)).to_bytes(2, "big")
    return b"\0\0\x29" + size + b"\0\0" + draw.choice((b"\0\0", b"\x80\0")) + b"\0\0"


def _drawn_case(draw: random.Random, label: bytes) -> bytes:
    letters = {octet for octet in label if chr(octet).isascii() and chr(octet).isalpha()}
    return bytes(octet ^ 0x20 if octet in letters and draw.random() < 0.5 else octet for octet in label)


def _labels(name: str) -> list[bytes]:
    return [label.encode() for label in name.split(".")]
