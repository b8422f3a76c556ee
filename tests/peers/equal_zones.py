"""Zones for the comparison with Unbound, and questions about them without end.

Rules:
- Reserved names only. `test.` is signed, `example.` is not; below test. stand zones that are signed wrongly, each in
  a way of its own, and one that its parent does not vouch for.
- No name is listed: the service has nothing to say about any of them.
- The same seed gives the same questions, and no question comes twice.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ed25519

SIGNED, UNSIGNED, PLAIN = "test.", "example.", "plain.test."
STRANGE_KEY, EXPIRED, EARLY, FORGED, STRIPPED = (
    f"{name}.test." for name in ("strange", "expired", "early", "forged", "stripped")
)
LAME: Final = "lame.test."
"""A zone that its server does not hold."""
BROKEN: Final = (STRANGE_KEY, EXPIRED, EARLY, FORGED, STRIPPED)
HOSTS, ALIASES = 300, 60
DAY_S: Final = 86_400
KINDS: Final = ("A", "AAAA", "MX", "TXT", "SRV", "HTTPS", "SVCB", "CAA", "NAPTR", "TLSA", "SSHFP", "PTR", "TYPE65280")

_HEAD = """$TTL 3600
@ SOA ns nobody 7 3600 600 86400 900
@ NS ns
@ MX 10 mail
@ TXT "the apex"
ns A 127.0.0.1
mail A 198.51.100.25
"""
_MIXED = r"""
MX 10 mail
MX 20 Mail.Elsewhere.Example.
TXT "some text" "and \"more\" of it"
SRV 1 2 5060 host{next}
HTTPS 1 . alpn=h2,h3 ipv4hint=198.51.100.{octet}
SVCB 2 host{next} port=8443
CAA 0 issue "authority.example"
NAPTR 10 20 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .
TLSA 3 1 1 {hash}
SSHFP 4 2 {hash}
PTR host{next}
TYPE65280 \# 6 00010203{octet:02x}ff
"""


def _body() -> Iterator[str]:
    for number in range(HOSTS):
        octet = number % 250 + 1
        yield f"host{number} A 198.51.100.{octet}"
        yield f"host{number} AAAA 2001:db8:1::{number:x}"
        if number % 5 == 0:
            filled = _MIXED.format(next=(number + 1) % HOSTS, octet=octet, hash=f"{number:064x}")
            yield from (f"mixed{number} {line}" for line in filled.strip().splitlines())
    for number in range(ALIASES):
        yield f"alias{number} CNAME host{number}"
        yield f"chain{number} CNAME Alias{number}"
        yield f"long{number} CNAME chain{number}"
        yield f"away{number} CNAME host{number}.{UNSIGNED if number % 2 else SIGNED}"
        yield f"lost{number} CNAME nowhere{number}"
        yield f"ill{number} CNAME host{number}.{BROKEN[number % len(BROKEN)]}"
        for size in range(number // 4 + 1):
            yield f'text{number} TXT "{size:02d}{"x" * 250}"'
            yield f"many{number} A 203.0.113.{size}"
            yield f"many{number} AAAA 2001:db8:2::{size:x}"
    yield "round0 CNAME round1"
    yield "round1 CNAME round0"
    yield "tree DNAME branch"
    yield "other DNAME host0"
    yield from (f"leaf{number}.branch A 198.51.100.{number + 1}" for number in range(ALIASES))
    yield "*.wild A 198.51.100.200"
    yield '*.wild TXT "of a wildcard"'
    yield "*.wild MX 10 mail"
    yield "here.wild A 198.51.100.201"
    yield "*.wildalias CNAME host7"
    yield "a.b.c.ent A 198.51.100.202"
    yield "zero 0 A 198.51.100.203"
    yield "short 2 A 198.51.100.204"
    yield r"odd\.dot A 198.51.100.205"
    yield r"odd\000\255 A 198.51.100.206"


def _cuts() -> Iterator[str]:
    """The delegations below test."""
    for zone in (*BROKEN, PLAIN, LAME):
        yield f"{zone.removesuffix('.test.')} NS ns"


@dataclass(frozen=True)
class Zones:
    """Master files by absolute name, and the trust anchor of the signed tree."""

    files: dict[str, str]
    anchors: list[str]

    @property
    def stubs(self) -> list[str]:
        """What Unbound is to ask NSD for."""
        return [*self.files, LAME]


Key = tuple[ed25519.Ed25519PrivateKey, dns.rdtypes.ANY.DNSKEY.DNSKEY]


def _key() -> Key:
    private = ed25519.Ed25519PrivateKey.generate()
    return private, dns.dnssec.make_dnskey(private.public_key(), dns.dnssectypes.Algorithm.ED25519, flags=257)


def _signed(zone: dns.zone.Zone, key: Key, inception: float, expiration: float) -> dns.zone.Zone:
    with zone.writer() as transaction:
        dns.dnssec.sign_zone(
            zone, transaction, keys=[key], inception=inception, expiration=expiration, dnskey_ttl=3600
        )
    return zone


def _forge(zone: dns.zone.Zone) -> None:
    """Damage every signature but those of the apex."""
    for name, node in zone.nodes.items():
        for rdataset in node.rdatasets if name != zone.origin else ():
            if rdataset.rdtype == dns.rdatatype.RRSIG:
                damaged = [rdata.replace(signature=bytes(64)) for rdata in rdataset]
                rdataset.clear()
                rdataset.ttl = 3600
                for rdata in damaged:
                    rdataset.add(rdata, 3600)


def _strip(zone: dns.zone.Zone) -> None:
    """Take away every signature but those of the apex."""
    for name, node in zone.nodes.items():
        if name != zone.origin:
            node.rdatasets = [one for one in node.rdatasets if one.rdtype != dns.rdatatype.RRSIG]


def make(now: float) -> Zones:
    """All zones, signed now."""
    files = {UNSIGNED: f"$ORIGIN {UNSIGNED}\n{_HEAD}" + "\n".join(_body()) + "\n"}
    small = _HEAD + "\n".join(f"host{number} A 203.0.113.{number}" for number in range(ALIASES)) + "\n"
    files[PLAIN] = f"$ORIGIN {PLAIN}\n{small}"
    delegations = list(_cuts())
    for origin in BROKEN:
        key = _key()
        zone = dns.zone.from_text(small, origin=origin, relativize=False)
        after = {EXPIRED: -30 * DAY_S, EARLY: 30 * DAY_S}.get(origin, 0)
        _signed(zone, key, now + after - DAY_S, now + after + DAY_S)
        if origin == FORGED:
            _forge(zone)
        if origin == STRIPPED:
            _strip(zone)
        trusted = _key() if origin == STRANGE_KEY else key
        delegation = dns.dnssec.make_ds(origin, trusted[1], "SHA256")
        delegations.append(f"{origin.removesuffix('.test.')} DS {delegation}")
        files[origin] = zone.to_text(relativize=False)
    key = _key()
    text = _HEAD + "\n".join([*_body(), *delegations]) + "\n"
    signed = _signed(dns.zone.from_text(text, origin=SIGNED, relativize=False), key, now - DAY_S, now + DAY_S)
    files[SIGNED] = signed.to_text(relativize=False)
    return Zones(files, [f"{SIGNED} 3600 IN DNSKEY {key[1]}"])


# The questions.

LOCAL: Final = ("localhost", "1.0.0.127.in-addr.arpa", "home.arpa", "x.onion", "7.10.in-addr.arpa",
    "_dns.resolver.arpa")
APEX_KINDS: Final = ("SOA", "NS", "DNSKEY", "DS", "MX", "TXT", "A", "NSEC", "RRSIG", "CDS", "HTTPS")
_Names = Callable[[random.Random], tuple[str, str]]


def _named(pattern: str, count: int, kinds: tuple[str, ...] = KINDS) -> _Names:
    return lambda r: (pattern.format(r.randrange(count)), r.choice(kinds))


_NAMES: Final[tuple[tuple[int, _Names], ...]] = (
    (20, _named("host{}", HOSTS + 30, ("A", "AAAA", "A", "AAAA", "HTTPS", "TXT", "MX"))),
    (10, lambda r: (f"mixed{5 * r.randrange(HOSTS // 5)}", r.choice(KINDS))),
    (12, _named("{}.wild", 10**6, ("A", "TXT", "MX", "AAAA"))),
    (3, _named("{}.wildalias", 10**6, ("A", "AAAA", "MX"))),
    (12, _named("nothing{}", 10**7)),
    (3, _named("x{}.y.nothing", 10**6)),
    (4, _named("text{}", ALIASES, ("TXT", "TXT", "A"))),
    (4, _named("many{}", ALIASES, ("A", "AAAA"))),
    (8, lambda r: (f"{r.choice(('alias', 'chain', 'long', 'away', 'lost'))}{r.randrange(ALIASES)}", r.choice(KINDS))),
    (2, _named("ill{}", ALIASES, ("A", "AAAA", "CNAME"))),
    (3, _named("leaf{}.tree", ALIASES + 30)),
    (2, _named("{}.other", 1000)),
    (2, lambda r: (r.choice(("c.ent", "ent", "b.c.ent", "a.b.c.ent", "round0", "tree", "zero", "ns")),
        r.choice(KINDS))),
    (1, lambda r: (r.choice((r"odd\.dot", r"odd\000\255", "here.wild", "wild", "*.wild")), r.choice(KINDS))),
    (1, lambda r: ("", r.choice(APEX_KINDS))),
)


@dataclass(frozen=True)
class Question:
    """A query but for its id, and what it asks; `name` is in small letters."""

    octets: bytes
    name: str
    kind: str
    flags: int
    edns: bool
    dnssec_ok: bool


def _name_and_kind(r: random.Random) -> tuple[str, str]:
    chance = r.random()
    if chance < 0.010:
        return r.choice(LOCAL), r.choice(("A", "AAAA", "SVCB", "PTR", "SOA", "NS"))
    if chance < 0.015:
        return f"host{r.randrange(ALIASES)}.{LAME}", "A"
    if chance < 0.055:
        return f"host{r.randrange(2 * ALIASES)}.{r.choice((*BROKEN, PLAIN, PLAIN))}", r.choice(("A", "AAAA", "TXT"))
    if chance < 0.060:
        return f"host{r.randrange(HOSTS)}.{SIGNED}", r.choice(("ANY", "AXFR", "IXFR", "MAILB", "MAILA", "TYPE128",
        "TSIG"))
    (made,) = r.choices([one for _, one in _NAMES], [weight for weight, _ in _NAMES])
    label, kind = made(r)
    zone = r.choice((SIGNED, SIGNED, UNSIGNED))
    return (f"{label}.{zone}" if label else zone), kind


def _letters(r: random.Random, name: str) -> str:
    return "".join(one.upper() if r.random() < 0.5 else one for one in name) if r.random() < 0.2 else name


def made(
    name: str, kind: str, *, qclass: int = 1, flags: int = 0x0100, payload: int = 1232, dnssec_ok: bool = False
) -> Question:
    """A question; payload 0 is without EDNS."""
    edns = payload > 0
    number = int(dns.rdatatype.from_text(kind))
    octets = flags.to_bytes(2, "big") + bytes([0, 1, 0, 0, 0, 0, 0, edns]) + dns.name.from_text(name).to_wire()
    octets += number.to_bytes(2, "big") + qclass.to_bytes(2, "big")
    if edns:
        octets += b"\0\0\x29" + payload.to_bytes(2, "big") + bytes([0, 0, 0x80 * dnssec_ok, 0, 0, 0])
    return Question(octets, name.lower(), "CH" if qclass == 3 else kind, flags, edns, edns and dnssec_ok)


def _made(r: random.Random) -> Question:
    name, kind = _name_and_kind(r)
    flags = (0 if r.random() < 0.01 else 0x0100) | (0x10 if r.random() < 0.1 else 0) | (0x20 if r.random() < 0.2 else 0)
    return made(
        _letters(r, name),
        kind,
        qclass=3 if r.random() < 0.002 else 1,
        flags=flags,
        payload=r.choice((512, 1232, 1232, 1232, 4096, 0)),
        dnssec_ok=r.random() < 0.5,
    )


def questions(count: int, seed: int) -> list[Question]:
    """So many distinct questions."""
    r, found = random.Random(seed), dict[bytes, Question]()
    while len(found) < count:
        one = _made(r)
        found.setdefault(one.octets, one)
    return list(found.values())
