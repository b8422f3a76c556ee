"""`python -m tests.parity.make_corpus` writes corpus/*.bin again: messages named by what is wrong (or right) in them.

Every reply answers the query for `www.example.` of type A; blocked.example with its subdomains is listed.
"""

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
WWW = b"\3www\7example\0"
LISTED = b"\7blocked\7example\0"
TO_QNAME = b"\xc0\x0c"
ADDRESS = bytes([192, 0, 2, 1])
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
SOA = b"\xc0\x10" + b"\1m\xc0\x10" + b"".join(n.to_bytes(4, "big") for n in (1, 2, 3, 4, 300))


def header(*, flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
    """Twelve octets."""
    return b"\x12\x34" + flags.to_bytes(2, "big") + b"".join(number.to_bytes(2, "big") for number in counts)


def query(
    name: bytes = WWW,
    kind: int = 1,
    extra: bytes = b"",
    *,
    flags: int = 0x0100,
    records: tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    """One question and what follows."""
    return header(flags=flags, counts=(1, *records)) + name + kind.to_bytes(2, "big") + b"\0\1" + extra


def record(owner: bytes, kind: int, data: bytes, ttl: int = 60) -> bytes:
    """One record of class IN."""
    return owner + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


def reply(
    answer: tuple[bytes, ...] = (), rest: tuple[bytes, ...] = (), *, flags: int = 0x8180, soa: bool = False
) -> bytes:
    """A reply to the query for www.example."""
    authority = (record(b"\xc0\x10", 6, SOA),) if soa else ()
    records = b"".join((*answer, *authority, *rest))
    return query(extra=records, flags=flags, records=(len(answer), len(authority), len(rest)))


def cookie(size: int, more: bytes = b"") -> bytes:
    """An OPT with a cookie of so many octets, and more options."""
    options = b"\0\x0a" + size.to_bytes(2, "big") + bytes(range(size)) + more
    return OPT[:-2] + len(options).to_bytes(2, "big") + options


def queries() -> Iterator[tuple[str, bytes]]:
    """What clients may send."""
    yield "right-plain", query()
    yield "right-edns", query(extra=OPT, records=(0, 0, 1))
    yield "right-labels-of-any-octet", query(b"\3a.b\2\0\xff\x04TeSt\0")
    yield "right-longest-name", query((b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"w" * 61 + b"\0")
    yield "right-127-labels", query(b"\1a" * 127 + b"\0")
    yield "right-root", query(b"\0", 2)
    yield "right-listed-odd-case", query(b"\7BlOcKeD\7eXaMpLe\0")
    yield "right-ends-in-record-of-other-type", query(extra=record(b"\0", 16, b"\1a"), records=(0, 0, 1))
    yield "empty", b""
    yield "eleven-octets", header()[:11]
    yield "is-a-response", query(flags=0x8180)
    yield "opcode-notify", query(flags=0x2000)
    yield "opcode-15", query(flags=0x7900)
    yield "no-question", header(counts=(0, 0, 0, 0))
    yield "two-questions", header(counts=(2, 0, 0, 0)) + (WWW + b"\0\1\0\1") * 2
    yield "count-of-questions-65535", header(counts=(65535, 0, 0, 0)) + WWW + b"\0\1\0\1"
    yield "header-alone", header()
    yield "name-256-octets", query((b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"w" * 62 + b"\0")
    yield "name-128-labels", query(b"\1a" * 128 + b"\0")
    yield "name-without-end", header() + b"\3www\7example"
    yield "label-64-octets", query(b"\x40" + b"x" * 64 + b"\0")
    yield "label-type-10", query(b"\x80\1\0")
    yield "label-past-the-end", header() + b"\x3fabc"
    yield "pointer-to-itself", query(b"\xc0\x0c")
    yield "pointer-forward", query(b"\xc0\x20")
    yield "pointer-into-header", query(b"\3www\xc0\0")
    yield "pointer-cut", header() + b"\3www\xc0"
    yield "pointer-to-own-label", query(b"\3www\xc0\x0c")
    yield "question-cut-after-name", header() + WWW
    yield "question-cut-in-class", header() + WWW + b"\0\1\0"
    yield "octets-after-the-end", query() + b"\0"
    yield "count-of-additional-too-high", query(records=(0, 0, 1))
    yield "count-of-answers-65535", query(records=(65535, 0, 0))
    yield "count-of-additional-too-low", query(extra=OPT)
    yield "record-cut-in-header", query(extra=OPT[:7], records=(0, 0, 1))
    yield "record-data-past-the-end", query(extra=OPT[:-2] + b"\0\x09", records=(0, 0, 1))
    yield "opt-twice", query(extra=OPT * 2, records=(0, 0, 2))
    yield "opt-in-answer", query(extra=OPT, records=(1, 0, 0))
    yield "opt-in-authority", query(extra=OPT, records=(0, 1, 0))
    yield "opt-not-at-the-root", query(extra=b"\1a" + OPT, records=(0, 0, 1))
    yield "opt-at-a-pointer-to-a-root", query(extra=b"\xc0\x18" + OPT[1:], records=(0, 0, 1))
    yield "opt-option-cut", query(extra=OPT[:-2] + b"\0\3\0\x0f\0", records=(0, 0, 1))
    yield "opt-option-too-long", query(extra=OPT[:-2] + b"\0\5\0\x0f\0\2\0", records=(0, 0, 1))
    for size in (0, 7, 9, 15, 41):
        yield f"opt-cookie-of-{size}-octets", query(extra=cookie(size), records=(0, 0, 1))
    for size in (8, 16, 24, 40):
        yield f"right-cookie-of-{size}-octets", query(extra=cookie(size), records=(0, 0, 1))
    yield "right-second-cookie-of-no-octets", query(extra=cookie(8, b"\0\x0a\0\0"), records=(0, 0, 1))
    yield "opt-cookie-cut", query(extra=cookie(24)[:-1], records=(0, 0, 1))
    yield "right-padding", query(extra=cookie(8, b"\0\x0c\0\x10" + bytes(16)), records=(0, 0, 1))
    yield "cookie-alone", header(counts=(0, 0, 0, 1)) + cookie(24)
    yield "cookie-alone-too-short", header(counts=(0, 0, 0, 1)) + cookie(7)
    yield "cookie-alone-and-octets-after-the-end", header(counts=(0, 0, 0, 1)) + cookie(24) + b"\0"
    yield "cookie-alone-of-version-1", header(counts=(0, 0, 0, 1)) + OPT[:6] + b"\1" + cookie(24)[7:]
    yield "opt-version-1", query(extra=OPT[:6] + b"\1" + OPT[7:], records=(0, 0, 1))
    yield "qtype-opt", query(kind=41)
    yield "qtype-tsig", query(kind=250)
    yield "qtype-tkey", query(kind=249)
    yield "qtype-axfr", query(kind=252)
    yield "qtype-ixfr", query(kind=251)
    yield "qtype-maila", query(kind=254)
    yield "signed-tsig", query(extra=record(b"\0", 250, bytes(16)), records=(0, 0, 1))
    yield "signed-sig0", query(extra=record(b"\0", 24, bytes(18)), records=(0, 0, 1))


def replies() -> Iterator[tuple[str, bytes]]:
    """What upstreams may send."""
    other = b"\5other\7example\0"
    long_svcb = b"\0\1" + LISTED + b"\0\1\0\3\2h2"
    yield "right-address", reply((record(TO_QNAME, 1, ADDRESS),))
    yield "right-negative", reply(soa=True, flags=0x8183)
    yield "right-opt-not-last", reply((record(TO_QNAME, 1, ADDRESS),), (OPT, record(other, 1, ADDRESS)))
    yield "right-cname-elsewhere", reply((record(TO_QNAME, 5, other), record(other, 1, ADDRESS)))
    yield "right-listed-in-authority-only", query(extra=record(LISTED, 2, other), flags=0x8180, records=(0, 1, 0))
    yield "listed-address-in-authority", query(
        extra=record(LISTED, 1, ADDRESS), flags=0x8180, records=(0, 1, 0)
    )
    yield "right-listed-in-text", reply((record(TO_QNAME, 16, LISTED),))
    yield "listed-cname-target", reply((record(TO_QNAME, 5, LISTED),))
    yield "listed-cname-target-second", reply((record(TO_QNAME, 5, other), record(other, 5, b"\1a" + LISTED)))
    yield "listed-cname-target-compressed", reply((record(TO_QNAME, 5, b"\7BLOCKED\xc0\x10"),))
    yield "listed-cname-target-octets-after", reply((record(TO_QNAME, 5, LISTED + b"\0\0"),))
    yield "listed-cname-off-the-chain", reply((record(TO_QNAME, 1, ADDRESS), record(other, 5, LISTED)))
    yield "listed-dname-target", reply((record(b"\xc0\x10", 39, LISTED), record(TO_QNAME, 5, b"\3www" + LISTED)))
    yield "listed-https-target", reply((record(TO_QNAME, 65, long_svcb),))
    yield "listed-svcb-alias", reply((record(TO_QNAME, 64, b"\0\0" + LISTED),))
    yield "listed-owner-off-the-chain", reply((record(TO_QNAME, 1, ADDRESS), record(LISTED, 1, ADDRESS)))
    yield "listed-owner-in-additional", reply((record(TO_QNAME, 1, ADDRESS),), (record(LISTED, 1, ADDRESS), OPT))
    yield "listed-after-many-pointers", reply((*[record(TO_QNAME, 1, ADDRESS)] * 600, record(TO_QNAME, 5, LISTED)))
    yield "cut-in-record", reply((record(TO_QNAME, 1, ADDRESS),))[:-1]
    yield "octets-after-the-end", reply((record(TO_QNAME, 1, ADDRESS),)) + b"\0"
    yield "count-of-answers-too-high", query(extra=record(TO_QNAME, 1, ADDRESS), flags=0x8180, records=(2, 0, 0))
    yield "count-of-answers-too-low", query(extra=record(TO_QNAME, 1, ADDRESS) * 2, flags=0x8180, records=(1, 0, 0))
    yield "count-of-answers-65535", query(extra=record(TO_QNAME, 1, ADDRESS), flags=0x8180, records=(65535, 0, 0))
    yield "two-questions", header(flags=0x8180, counts=(2, 0, 0, 0)) + (WWW + b"\0\1\0\1") * 2
    yield "opt-twice", reply((), (OPT, OPT))
    yield "opt-in-answer", reply((OPT,))
    yield "opt-not-at-the-root", reply((), (b"\1a" + OPT,))
    yield "opt-option-too-long", reply((), (OPT[:-2] + b"\0\5\0\x0f\0\2\0",))
    yield "owner-points-to-itself", reply((record(b"\xc0\x1d", 1, ADDRESS),))
    yield "owner-points-forward", reply((record(b"\xc0\x30", 1, ADDRESS),))
    yield "owner-points-into-header", reply((record(b"\xc0\0", 1, ADDRESS),))
    yield "cname-target-past-its-data", reply((record(TO_QNAME, 5, b"\7blocked"), record(TO_QNAME, 1, ADDRESS)))
    yield "cname-target-empty", reply((record(TO_QNAME, 5, b""),))
    yield "cname-target-points-to-itself", reply((record(TO_QNAME, 5, b"\xc0\x29"),))
    yield "svcb-of-one-octet", reply((record(TO_QNAME, 65, b"\0"),))
    yield "more-names-than-are-judged", query(
        extra=record(b"\1a" * 118 + b"\0", 2, b"\0") + record(b"\1b\xc0\x1d", 1, ADDRESS) * 600,
        flags=0x8180,
        records=(0, 601, 0),
    )
    yield "64k-chained-pointers", chained()
    yield "64k-chained-pointers-of-long-names", chained(b"\1a" * 100)
    yield "64k-records-of-eleven-octets", reply(tuple(record(b"\0", 65280, b"") for _ in range(5950)))


def chained(start: bytes = b"") -> bytes:
    """64 kB: a chain of pointers, each to the one before, and records whose owners hang on its end."""
    data_at = len(query()) + len(record(TO_QNAME, 65280, b""))
    chain = b"\xc0\x0c" + b"".join(
        (0xC000 | data_at + len(start) + 2 * number).to_bytes(2, "big") for number in range(124)
    )
    last = data_at + len(start) + 2 * 124
    records = [record(TO_QNAME, 65280, start + chain)]
    # Two owners in turn: a pointer that was judged just before is not judged again.
    while len(query()) + sum(map(len, records)) + 16 <= 65535:
        owner = (0xC000 | last - 2 * (len(records) % 2)).to_bytes(2, "big")
        records.append(record(owner, 1, ADDRESS))
    return reply(tuple(records))


def write() -> None:
    """Write every file; files that no line makes are left for a reader to notice (the test does)."""
    FOLDER.mkdir(exist_ok=True)
    for kind, made in (("query", queries()), ("reply", replies())):
        for name, octets in made:
            (FOLDER / f"{kind}-{name}.bin").write_bytes(octets)


if __name__ == "__main__":
    write()
