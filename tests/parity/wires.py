"""Random names, lists, queries and replies in wire format: right, nearly right and wrong.

Everything comes from the Random handed in. Names come from few labels, so that lists are hit often.
"""

import random
from dataclasses import dataclass
from typing import Any

from tests.parity.cases import Core

KEY = bytes(range(16))
SELFTEST = b"abcdefghijklmnopqrstuvwxyz"
LABELS = (b"a", b"b", b"c", b"ads", b"www", b"_443", b"_https", b"_8443", b"example", b"test")
ODD_LABELS = (b"a.b", b"\0", b"\xff\xfe", b"x" * 63, b"AdS", b"WWW", b"_HTTPS", b"*", b"_65535", b"_x", "ä".encode())
TYPES = (1, 28, 65, 64, 5, 39, 6, 2, 15, 16, 41, 46, 249, 250, 251, 252, 253, 254, 255, 0, 65535)

BLOCK, BLOCK_SELF, EXCEPT, EXCEPT_SELF, SET_ASIDE, NEW = 3, 1, 12, 4, 32, 16


def labels(r: random.Random) -> list[bytes]:
    """A few labels, seldom many or odd ones; never more than a name may hold."""
    many = r.random()
    number = r.randrange(0, 5) if many < 0.95 else r.randrange(5, 128)
    found = [r.choice(LABELS if r.random() < 0.85 else ODD_LABELS) for _ in range(number)]
    while sum(len(one) + 1 for one in found) + 1 > 255:
        found.pop()
    return found


def wire(parts: list[bytes]) -> bytes:
    """A name in wire format, uncompressed."""
    return b"".join(bytes([len(one)]) + one for one in parts) + b"\0"


def folded(name: bytes) -> bytes:
    """The name as it stands in a list."""
    return bytes(octet + 32 if 65 <= octet <= 90 else octet for octet in name)


@dataclass(frozen=True)
class Lists:
    """What both builds make a generation of; `names` are listed somewhere."""

    images: tuple[tuple[bytes, bytes, int], ...]
    flags: tuple[tuple[bool, bool], ...]
    answers: tuple[tuple[int, bool, tuple[bytes, ...], tuple[bytes, ...]], ...]
    names: tuple[list[bytes], ...]


def lists(r: random.Random, many: int = 0) -> Lists:
    """`many` lists, or one to three, of a few names each, with exceptions, new and set-aside entries."""
    known: list[list[bytes]] = []
    images, flags, answers = [], [], []
    for serial in range(1, 1 + (many or r.randrange(1, 4))):
        octets, bits = b"", b""
        aside: dict[bytes, bool] = {}
        for _ in range(r.randrange(1, 8)):
            parts = labels(r) or [b"test"]
            known.append(parts)
            name = folded(wire(parts))
            octets += name
            scope = r.choice((BLOCK, BLOCK, BLOCK_SELF, EXCEPT, EXCEPT_SELF, BLOCK | EXCEPT_SELF))
            scope |= r.choice((0, 0, NEW))
            # As feed.names.guard_lines does: by the name alone, and never an exception.
            if aside.setdefault(name, r.random() < 0.3) and scope & BLOCK:
                scope |= SET_ASIDE
            bits += scope.to_bytes(2, "little")
        images.append((octets, bits, serial))
        flags.append((r.random() < 0.15, r.random() < 0.3))
        answers.append(
            (
                r.choice((0, 0, 1, 2)),
                r.random() < 0.5,
                tuple(bytes([192, 0, 2, n]) for n in range(r.randrange(4))),
                tuple(b"\x20\x01\x0d\xb8" + bytes(11) + bytes([n]) for n in range(r.randrange(3))),
            )
        )
    return Lists(tuple(images), tuple(flags), tuple(answers), tuple(known))


def written(core: Core, made: Lists) -> list[bytes]:
    """The images of the lists, each with the one before as its previous."""
    image, entries = core("image"), core("entries")
    found: list[bytes] = []
    for octets, bits, serial in made.images:
        previous = image.view(found[-1]) if found and serial % 2 else None
        found.append(
            bytes(
                entries.write(
                    octets, bits, KEY, list_id=f"list-{serial}", serial=serial, issued=1, expires=0,
                    generation=7, selftest=SELFTEST, previous=previous, keep_new=serial == 3,
                )
            )
        )
    return found


def generation(core: Core, made: Lists, images: list[bytes] | None = None) -> Any:
    """The lists in force together."""
    image, policy, reply = core("image"), core("policy"), core("reply")
    members = [
        policy.Member(
            image.view(octets),
            reply.Replies(answer[0], statute=answer[1], v4=answer[2], v6=answer[3]),
            slot=slot, release=flags[0], approved=flags[1],
        )
        for slot, (octets, flags, answer) in enumerate(
            zip(images or written(core, made), made.flags, made.answers, strict=True)
        )
    ]
    return policy.Generation(7, KEY, members)


def near(r: random.Random, known: tuple[list[bytes], ...]) -> list[bytes]:
    """A name that is listed, below or above a listed one, in any case of letters; or any name."""
    parts = list(r.choice(known)) if known and r.random() < 0.8 else labels(r)
    many = r.random()
    if many < 0.2:
        parts = [b"_%d" % r.randrange(1, 65536), b"_https", *parts]
    elif many < 0.5:
        parts = [r.choice(LABELS), *parts]
    elif many < 0.6:
        parts = parts[1:]
    while sum(len(one) + 1 for one in parts) + 1 > 255:
        parts.pop(0)
    return [one.swapcase() if r.random() < 0.3 else one for one in parts]


def opt(r: random.Random) -> bytes:
    """An OPT record, mostly a sound one."""
    owner = r.choice((b"\0",) * 9 + (b"\1a\0",))
    size = r.choice((0, 511, 512, 1232, 4096, 65535)).to_bytes(2, "big")
    version = r.choice((b"\0",) * 8 + (b"\1", b"\xff"))
    data = b""
    for _ in range(r.choice((0, 0, 1, 2))):
        value = r.randbytes(r.choice((0, 2, 8, 40)))
        code = r.choice((3, 8, 10, 12, 15, 15)).to_bytes(2, "big")
        data += code + len(value).to_bytes(2, "big") + value
    if r.random() < 0.1:
        data += r.randbytes(r.randrange(1, 6))
    flags = r.choice((b"\0\0", b"\x80\0", b"\x80\x01"))
    return owner + b"\0\x29" + size + b"\0" + version + flags + len(data).to_bytes(2, "big") + data


def query(r: random.Random, known: tuple[list[bytes], ...] = ()) -> bytes:
    """A query: mostly sound, else with counts that lie, signatures, a compressed name, cut or stretched."""
    name = wire(near(r, known))
    if r.random() < 0.04:
        name = r.choice((name[:-1] + b"\xc0\x0c", b"\xc0\x0c", b"\x40" + name, name[:-1] + b"\xff\xff"))
    kind = r.choice((1, 1, 28, 65, 16)) if r.random() < 0.8 else r.choice(TYPES)
    klass = 1 if r.random() < 0.9 else r.choice((3, 255, 0, 65535))
    extra = b""
    counts = [0, 0, 0]
    for _ in range(r.choice((0, 1, 1, 1, 2))):
        where = 2 if r.random() < 0.9 else r.randrange(3)
        counts[where] += 1
        extra += opt(r) if r.random() < 0.85 else record(r, wire(labels(r)))
    if r.random() < 0.05:
        counts[r.randrange(3)] = r.choice((0, 1, 2, 255, 65535))
    first = r.choice((1, 0)) if r.random() < 0.9 else r.randrange(256)
    second = r.choice((0, 0x10, 0x20, 0x30)) if r.random() < 0.9 else r.randrange(256)
    questions = 1 if r.random() < 0.97 else r.choice((0, 2, 256, 257))
    head = r.randbytes(2) + bytes([first, second]) + questions.to_bytes(2, "big")
    head += b"".join(n.to_bytes(2, "big") for n in counts)
    return damaged(r, head + name + kind.to_bytes(2, "big") + klass.to_bytes(2, "big") + extra)


def damaged(r: random.Random, octets: bytes) -> bytes:
    """Mostly the same; else cut, stretched or with an octet changed."""
    many = r.random()
    if many < 0.90 or not octets:
        return octets
    if many < 0.93:
        return octets[: r.randrange(len(octets))]
    if many < 0.95:
        return octets + r.randbytes(r.randrange(1, 20))
    changed = bytearray(octets)
    changed[r.randrange(len(changed))] = r.randrange(256)
    return bytes(changed)


def record(r: random.Random, owner: bytes, kind: int | None = None, data: bytes | None = None) -> bytes:
    """A record with a random type and contents where none are given; these can be read, mostly."""
    kind = r.choice(TYPES) if kind is None else kind
    if data is None:
        data = r.randbytes(r.choice((0, 1, 4, 16, 22, 40))) if r.random() < 0.03 else sound(r, kind)
    ttl = r.choice((0, 1, 60, 300, 86400, 86401, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
    return (
        owner + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data
    )


def sound(r: random.Random, kind: int) -> bytes:
    """RDATA that a record of this type may have."""
    name = wire(labels(r))
    lengths = {1: 4, 28: 16}
    if kind in lengths:
        return r.randbytes(lengths[kind])
    if kind in (2, 5, 39):
        return name
    heads = {15: r.randbytes(2), 64: b"\0\1", 65: b"\0\1", 46: r.randbytes(18)}
    ends = {46: r.randbytes(9), 65: r.choice((b"", b"\0\1\0\3\2h2"))}
    if kind in heads:
        return heads[kind] + name + ends.get(kind, b"")
    if kind == 6:
        return name + name + r.randbytes(20)
    return b"\3abc" if kind == 16 else r.randbytes(r.choice((0, 1, 40)))


class _Reply:
    """A reply under construction: it knows where its names start."""

    def __init__(self, r: random.Random, octets: bytes, known: tuple[list[bytes], ...]) -> None:
        self.r = r
        self.octets = bytearray(octets)
        self.starts = [12]
        self.known = known

    def name(self, at: int) -> bytes:
        """A name that will stand at offset `at`: whole, or ending in a pointer backward, forward, to itself."""
        r = self.r
        many = r.random()
        if many < 0.45:
            self.starts.append(at)
            return wire(near(r, self.known))
        first = wire(labels(r)[:2])[:-1] if r.random() < 0.5 else b""
        target = r.choice(self.starts)
        if many > 0.98:
            target = r.choice((at, at + len(first), at + 40, 0, 11, 16383))
        self.starts.append(at)
        return first + (0xC000 | min(target, 16383)).to_bytes(2, "big")

    def add(self) -> None:
        """One more record."""
        r = self.r
        owner = self.name(len(self.octets))
        at = len(self.octets) + len(owner) + 10
        kind = r.choice((1, 1, 28, 5, 5, 39, 64, 65, 65, 6, 16)) if r.random() < 0.9 else r.choice(TYPES)
        data = None
        if kind in (5, 39):
            data = self.name(at)
        elif kind in (64, 65):
            data = b"\0\1" + self.name(at + 2) + r.choice((b"", b"", b"\0\1\0\2\1x"))
        elif kind == 6:
            data = self.name(at) + b"\0" + b"".join(r.choice((60, 300)).to_bytes(4, "big") for _ in range(5))
        elif kind == 41:
            kind = 16
        if data is not None and r.random() < 0.01:
            data = data[: r.randrange(len(data) + 1)] + r.randbytes(r.randrange(3))
        self.octets += record(r, owner, kind, data)


def reply(r: random.Random, asked: bytes, end: int, known: tuple[list[bytes], ...] = ()) -> bytes:
    """A reply to the question asked[12:end]: sections, compression, OPT; mostly sound."""
    made = _Reply(r, asked[:end] if end > 12 else asked[:12] + b"\0\0\1\0\1", known)
    counts = []
    sections = (r.choice((0, 1, 1, 2, 5)), r.choice((0, 0, 1)), r.choice((0, 0, 1, 1, 2)))
    # ADDITIONAL goes where ANSWER is scrubbed: some replies have nothing else, so that it is judged often enough.
    for many in (0, 0, 3) if r.random() < 0.2 else sections:
        counts.append(many)
        for _ in range(many):
            made.add()
    if r.random() < 0.5:
        counts[2] += 1
        made.octets += opt(r)
    if r.random() < 0.03:
        counts[2] += 1
        made.octets += record(r, b"\0", 16)
    if r.random() < 0.03:
        counts[r.randrange(3)] = r.choice((0, 1, 65535))
    octets = made.octets
    octets[2] = 0x80 | r.choice((1, 5, 3, 7)) if r.random() < 0.95 else r.randrange(256)
    octets[3] = r.choice((0x80, 0x83, 0xA0, 0x82)) if r.random() < 0.9 else r.randrange(256)
    octets[4:6] = b"\0\1"
    for at, number in zip((6, 8, 10), counts, strict=True):
        octets[at : at + 2] = number.to_bytes(2, "big")
    return damaged(r, bytes(octets))


def to_keep(
    core: Core,
    reply: bytes,
    *,
    ttl_s: int = 60,
    generation: int = 7,
    rcode: int = 3,
    kind: int = 0,
    errors: bytes = b"",
) -> Any:
    """What core.store is to keep of a reply."""
    store, message = core("store"), core("message").Message()
    message.data, message.end, message.rcode = reply, len(reply), rcode
    message.errors, message.errors_size = errors or b"\0", len(errors)
    found = store.Kept()
    store.set_answer(found, message, ttl_s, generation, kind)
    return found


def verdict(core: Core, slot: int, low: int, high: int, bits: int) -> Any:
    """A verdict that this entry of a list has given."""
    found = core("policy").Verdict()
    found.slot, found.low, found.high, found.bits = slot, low, high, bits
    return found
