"""Rows of the table of cases: EDNS, sizes, and what comes from upstream."""

from typing import Final

from tests.journeys.cases.packets import EACH, ONCE, RD, opt, option, query, record, wire
from tests.journeys.cases.rows_query import EMPTY, RIGHT, row

DO: Final = 0x8000
UNKNOWN, COOKIE, NSID, EXPIRE, KEEPALIVE, PADDING = 100, 10, 3, 9, 11, 12
ECS: Final = option(8, b"\0\1\0\0")


def sized(case: str, octets: int, payload: int | None) -> bytes:
    """A query whose answer, with OPT, has so many octets."""
    extra = () if payload is None else (opt(payload=payload),)
    return query(case, "TXT", *extra, name=f"octets-{octets}.{case}.test")


def text_octets(case: str, octets: int) -> int:
    """How long the text of that answer is."""
    return octets - 12 - len(wire(f"octets-{octets}.{case}.test")) - 4 - 12 - 11


def whole(case: str, octets: int, edns: str = "; EDNS") -> str:
    """The answer where it fits."""
    return f"NOERROR; TXT of {text_octets(case, octets)} octets (300 s){edns}"


EDNS: Final = (
    row("edns", "EDNS without options", "8906 8.2.1, 6891 7", RIGHT + "; EDNS", query("edns", "A", opt()),
        upstream=ONCE),
    row("edns-version", "EDNS version 1 and 255", "8906 8.2.2, 6891 6.1.3", "BADVERS; EDNS",
        query("edns-version", "SOA", opt(version=1)), query("edns-version", "A", opt(version=255))),
    row("edns-option", "an unknown option", "8906 8.2.3, 6891 6.1.2", RIGHT + "; EDNS",
        query("edns-option", "A", opt(option(UNKNOWN, b"x"))), query("edns-option", "A", opt(option(UNKNOWN))),
        query("edns-option", "A", opt(option(65001, bytes(500)))), upstream=ONCE),
    row("edns-flags", "unknown EDNS flags", "8906 8.2.4, 6891 6.1.4", RIGHT + "; EDNS",
        query("edns-flags", "A", opt(flags=0x40)), query("edns-flags", "A", opt(flags=0x7FFF)), upstream=ONCE),
    row("edns-version-flags", "EDNS version 1 and unknown flags", "8906 8.2.5", "BADVERS; EDNS",
        query("edns-version-flags", "SOA", opt(version=1, flags=0x40))),
    row("edns-version-option", "EDNS version 1 and an unknown option", "8906 8.2.6", "BADVERS; EDNS",
        query("edns-version-option", "SOA", opt(option(UNKNOWN), version=1))),
    row("edns-truncated", "an answer that a payload of 512 does not take", "8906 8.2.7, 6891 6.2.5",
        "NODATA, TC; EDNS DO", query("edns-truncated", "TXT", opt(payload=512, flags=DO),
        name="octets-700.edns-truncated.test"),
        by_tcp=whole("edns-truncated", 700) + " DO", upstream=ONCE),
    row("edns-do", "DO=1", "8906 8.2.8, 3225 3", RIGHT + "; EDNS DO", query("edns-do", "A", opt(flags=DO)),
        upstream=ONCE),
    row("edns-version-do", "EDNS version 1 and DO=1", "8906 8.2.9", "BADVERS; EDNS DO",
        query("edns-version-do", "SOA", opt(version=1, flags=DO))),
    row("edns-options", "NSID, cookie, EXPIRE, ECS and padding: the cookie alone is answered",
        "8906 8.2.10, 6891 6.1.2, 7873 5.2.3", RIGHT + "; EDNS, cookie",
        query("edns-options", "A", opt(option(COOKIE, b"12345678"), option(NSID), option(EXPIRE), ECS, option(PADDING,
        bytes(9)))),
        upstream=ONCE),
    row("keepalive", "edns-tcp-keepalive", "7828 3.3.1 and 3.3.2", RIGHT + "; EDNS", query("keepalive", "A",
        opt(option(KEEPALIVE))),
        by_tcp=RIGHT + "; EDNS, keepalive 10 s", upstream=ONCE),
    row("keepalive-listed", "edns-tcp-keepalive, a listed name", "7828 3.3.2",
        "NOERROR; A 192.0.2.1 (60 s); EDNS, EDE 4", query("keepalive-listed", "A", opt(option(KEEPALIVE)),
        name="listed.test"),
        by_tcp="NOERROR; A 192.0.2.1 (60 s); EDNS, EDE 4, keepalive 10 s"),
    row("keepalive-time", "edns-tcp-keepalive with a time, which clients may not send", "7828 3.2.1", RIGHT + "; EDNS",
        query("keepalive-time", "A", opt(option(KEEPALIVE, b"\0\x64"))), by_tcp=RIGHT + "; EDNS, keepalive 10 s",
        upstream=ONCE),
    row("opt-version-twice", "two OPT, of version 1", "6891 6.1.1", "FORMERR; EDNS",
        query("opt-version-twice", "A", opt(version=1), opt(version=1))),
    row("opt-twice", "more than one OPT", "6891 6.1.1", "FORMERR; EDNS", query("opt-twice", "A", opt(), opt())),
    row("opt-elsewhere", "OPT in ANSWER or in AUTHORITY", "6891 6.1.1", "FORMERR",
        query("opt-elsewhere", "A", opt(), sections=(1, 0)), query("opt-elsewhere", "A", opt(), sections=(0, 1))),
    row("opt-owner", "OPT not at the root", "6891 6.1.2", "FORMERR", query("opt-owner", "A",
        opt(owner=wire("a.test")))),
    row("opt-options-cut", "options that end before or behind their OPT", "6891 6.1.2", "FORMERR",
        query("opt-options-cut", "A", opt(b"\0\x0f\0")), query("opt-options-cut", "A", opt(b"\0\x0f\0\2\0"))),
    row("opt-not-last", "OPT before another record", "6891 6.1.1", RIGHT + "; EDNS",
        query("opt-not-last", "A", opt(), record(wire("other.test"), 1, bytes(4))), upstream=ONCE),
)  # fmt: skip


CUT: Final = "NODATA, TC; EDNS"

SIZES: Final = (
    row("payload-0", "payload 0, an answer of 512 octets", "6891 6.2.3", whole("payload-0", 512), sized("payload-0",
        512, 0),
        upstream=ONCE),
    row("payload-511", "payload 511, an answer of 512 octets", "6891 6.2.3", whole("payload-511", 512),
        sized("payload-511", 512, 511), upstream=ONCE),
    row("payload-511-cut", "payload 511, an answer of 513 octets", "6891 6.2.3", CUT, sized("payload-511-cut", 513,
        511),
        by_tcp=whole("payload-511-cut", 513), upstream=ONCE),
    row("payload-800", "payload 800, an answer of 800 octets", "6891 6.2.3", whole("payload-800", 800),
        sized("payload-800", 800, 800),
        upstream=ONCE),
    row("payload-800-cut", "payload 800, an answer of 801 octets", "6891 6.2.3", CUT, sized("payload-800-cut", 801,
        800),
        by_tcp=whole("payload-800-cut", 801), upstream=ONCE),
    row("payload-4096", "payload 4096, an answer of 1232 octets", "9715 3.1", whole("payload-4096", 1232),
        sized("payload-4096", 1232, 4096), upstream=ONCE),
    row("payload-4096-cut", "payload 4096, an answer of 1233 octets", "9715 3.1", CUT, sized("payload-4096-cut", 1233,
        4096),
        by_tcp=whole("payload-4096-cut", 1233), upstream=ONCE),
    row("payload-65535-cut", "payload 65535, an answer of 60000 octets", "9715 3.1", CUT, sized("payload-65535-cut",
        60000, 65535),
        by_tcp=whole("payload-65535-cut", 60000), upstream=ONCE),
    row("payload-none", "no EDNS, an answer of 512 octets", "1035 2.3.4", whole("payload-none", 523, ""),
        sized("payload-none", 523, None), upstream=ONCE),
    row("payload-none-cut", "no EDNS, an answer of 513 octets", "1035 4.2.1", "NODATA, TC", sized("payload-none-cut",
        524, None),
        by_tcp=whole("payload-none-cut", 524, ""), upstream=ONCE),
)  # fmt: skip


def told(case: str, way: str, *extra: bytes, kind: int | str = "A", flags: int = RD) -> bytes:
    """A query for a name that the upstream answers in this way."""
    return query(case, kind, *extra, name=f"{way}.{case}.test", flags=flags)


UPSTREAM: Final = (
    row("nxdomain", "NXDOMAIN with a SOA: kept", "2308 5", "NXDOMAIN; authority: SOA of test. (300 s)",
        told("nxdomain", "nxdomain"), upstream=ONCE),
    row("nodata", "NODATA with a SOA: kept", "2308 5", EMPTY, told("nodata", "right", kind="MX"), upstream=ONCE),
    row("nxdomain-bare", "NXDOMAIN without a SOA: not kept", "2308 5", "NXDOMAIN", told("nxdomain-bare",
        "nxdomain-bare"), upstream=EACH),
    row("nodata-bare", "NODATA without a SOA: not kept", "2308 5", "NODATA", told("nodata-bare", "nothing"),
        upstream=EACH),
    row("truncated", "TC=1, over TCP too: not kept", "2181 9, 1035 7.4", "NODATA, TC", told("truncated", "truncated"),
        upstream=EACH),
    row("ttl-top-bit", "a TTL with the top bit: 0, not kept", "2181 8", "NOERROR; A 198.51.100.7 (0 s)",
        told("ttl-top-bit", "top"), upstream=EACH),
    row("ttl-top-bit-behind", "a TTL with the top bit behind another", "2181 8",
        "NOERROR; CNAME target.test. (300 s), A of target.test. 198.51.100.7 (0 s)", told("ttl-top-bit-behind",
        "onetop"), upstream=EACH),
    row("ttl-0", "TTL 0: not kept", "1035 3.2.1", "NOERROR; A 198.51.100.7 (0 s)", told("ttl-0", "zero"),
        upstream=EACH),
    row("ttl-week", "a TTL of a week: a day", "8767 4", "NOERROR; A 198.51.100.7 (86400 s)", told("ttl-week", "week"),
        upstream=ONCE),
    row("alias", "a chain, its letters as they came", "1034 3.6.2, 1035 2.3.3",
        "NOERROR; CNAME Target.Example. (300 s), A of Target.Example. 198.51.100.7 (300 s)", told("alias", "alias"),
        upstream=ONCE),
    row("ad-unasked", "AD from upstream, asked with neither AD nor DO", "6840 5.8", RIGHT + "; EDNS",
        told("ad-unasked", "ad", opt()), upstream=ONCE),
    row("ad-asked", "AD from upstream, asked with AD", "6840 5.7 and 5.8", RIGHT.replace("R;", "R, AD;"),
        told("ad-asked", "ad", flags=RD | 0x20), upstream=ONCE),
    row("ad-do", "AD from upstream, asked with DO", "6840 5.8, 4035 3.2.3", RIGHT.replace("R;", "R, AD;") + "; EDNS DO",
        told("ad-do", "ad", opt(flags=DO)), upstream=ONCE),
    row("aa", "AA from upstream: of its answers we are no authority", "1035 4.1.1", RIGHT, told("aa", "aa"),
        upstream=ONCE),
    row("unasked", "records of other names beside the answer", "2181 5.4.1", RIGHT, told("unasked", "unasked"),
        upstream=ONCE),
    row("z", "Z from upstream", "1035 4.1.1", RIGHT, told("z", "z"), upstream=ONCE),
    row("servfail", "SERVFAIL from upstream: kept for a while", "9520 3.2", "SERVFAIL; EDNS", told("servfail",
        "rcode-2", opt()), upstream=ONCE),
    row("refused", "REFUSED from upstream: kept for a while", "9520 3.2", "REFUSED; EDNS", told("refused", "rcode-5",
        opt()), upstream=ONCE),
    row("explained", "SERVFAIL and why, from upstream", "8914 3, 9520 3.2",
        "SERVFAIL; EDNS, EDE 6 'signature crypto failed'",
        told("explained", "explained", opt()), upstream=ONCE),
    row("yxdomain", "an rcode that is none of ours, with a record: passed on whole",
        "6672 2.2, 6895 2.3", "YXDOMAIN; DNAME of test. target.example. (300 s)", told("yxdomain",
        "overlong"),
        upstream=EACH),
    row("rcode-23", "an rcode above 15, from upstream", "6891 6.1.3", "BADCOOKIE; EDNS",
        told("rcode-23", "rcode-23", opt()), upstream=ONCE),
    row("rcode-23-plain", "an rcode above 15 for who has no EDNS", "6891 6.1.3 and 7", "SERVFAIL",
        told("rcode-23-plain", "rcode-23"), upstream=ONCE),
    row("hop-options", "options from upstream are not passed on", "6891 6.1.1, 7873 3, 5001 2.1", RIGHT + "; EDNS",
        told("hop-options", "options", opt()),
        upstream=ONCE),
    row("no-edns-upstream", "an upstream that does not know EDNS", "6891 7, 8906 8.3", RIGHT + "; EDNS",
        told("no-edns-upstream", "noedns", opt()),
        upstream=ONCE),
)  # fmt: skip

ROWS: Final = (*EDNS, *SIZES, *UPSTREAM)
