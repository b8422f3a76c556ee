"""The catalogue of probes: what is asked, how the reply is judged, why it matters, and what closes it in each product.

Rules:
- One row is one probe. Table, JSON, exporter and deploy/doctor.md take their words from here, so that a probe and its
  text cannot drift.
- A line of `closes` is what an operator types. `NAME` stands for the test entry, and for each name of the list,
  `POLICY` for the zone of the list, `CLIENTS` for the networks of the subscribers, `PAGE4` and `PAGE6` for the page.
- A product that is not named in `closes` has no line of its own for this: the answer is right by default, or nothing in
  its configuration changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from resolver.doctor import ask, wire


class Judge(StrEnum):
    """How the replies of a probe are judged; `verdicts` and `special` have the rules."""

    BLOCKED = "blocked"
    """As blocked answers look."""
    NOT_RECURSED = "not recursed"
    """The same, or REFUSED: for a query without RD."""
    LED_TO = "led to"
    """The same for a record that leads to the listed name; the target may be named, never its data."""
    HIDDEN = "hidden"
    """The answer may come as it is, without data of the listed name."""
    OPEN = "open"
    """The data of an open name, all of them."""
    SPECIAL = "special"
    """A rule of its own, by the probe's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A question of a probe; `tag` in the name is new for each probe."""

    name: str
    kind: int = wire.A
    warm: bool = False
    """Asked once before, and only the second reply is judged."""
    mixed: bool = False
    """Asked in mixed case."""
    rd: bool = True
    edns: bool = True
    do: bool = False
    cd: bool = False
    over: str = ask.UDP


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One row of the catalogue."""

    id: str
    what: str
    why: str
    judge: Judge = Judge.BLOCKED
    puts: tuple[Put, ...] = ()
    closes: Mapping[str, str] = field(default_factory=dict)


PRODUCTS: Final = {
    "bind": "BIND",
    "unbound": "Unbound",
    "recursor": "Recursor",
    "knot": "Knot",
    "dnsdist": "dnsdist",
}

_ENTRY, _ALIAS, _MODE, _SERVICE = "{entry}", "{tag}.alias.{zone}", "{tag}.mode.{zone}", "{tag}.service.{zone}"
_UNKNOWN_TYPE: Final = wire.TYPES["TYPE65280"]

_OTHER_TYPES: Final = {
    "bind": "the policy zone has A and AAAA for NAME and *.NAME: then every other type is NODATA",
    "unbound": "the policy zone has A and AAAA for NAME and *.NAME: then every other type is NODATA",
    "recursor": "the policy zone has A and AAAA for NAME and *.NAME: then every other type is NODATA",
    "knot": "the policy zone has A and AAAA for NAME and *.NAME: then every other type is NODATA",
    "dnsdist": 'addAction(SuffixMatchNodeRule(names), NegativeAndSOAAction(false, "NAME.", 60, "localhost.", '
    '"nobody.invalid.", 1, 3600, 600, 86400, 60)) behind SpoofAction',
}
_BELOW: Final = {
    product: "the policy zone has A and AAAA for *.NAME too" for product in ("bind", "unbound", "recursor", "knot")
} | {"dnsdist": "match with SuffixMatchNodeRule, not QNameRule"}
_ALIASES: Final = {
    "bind": "NAME and *.NAME have A and AAAA in the policy zone",
    "unbound": 'module-config: "respip validator iterator"; 1.19.0 or newer: older ones give it from their cache',
    "recursor": "forward-zones-recurse in place of forward-zones",
    "knot": "no line of 5.x: policy.rpz sees the name that was asked; put a resolver that looks into answers before it",
    "dnsdist": "no line: it does not look into answers; the resolver behind it has to enforce the list",
}
_LEADS: Final = {
    "bind": "minimal-responses yes;",
    "knot": _ALIASES["knot"],
    "dnsdist": _ALIASES["dnsdist"],
}
_SIGNED: Final = {
    "bind": 'response-policy { zone "POLICY"; } break-dnssec yes;',
    "unbound": 'module-config: "respip validator iterator"',
}
_OPEN: Final = {
    "bind": "take from the policy zone what is not NAME or below it, and rpz-ip triggers",
    "unbound": "take from the policy zone what is not NAME or below it, and rpz-ip triggers",
    "recursor": "take from the policy zone what is not NAME or below it, and rpz-ip triggers",
    "knot": "match with policy.rpz or policy.suffix, not policy.pattern",
    "dnsdist": "match with SuffixMatchNodeRule, not RegexRule",
}

_ANY_TYPE: Final = "A client takes whatever leads to the site, not addresses alone."
_OTHER_WAY: Final = "A client that asks another way would get round the list."
_LEADING: Final = "The list has the name, the site is reached by another that leads to it."

PROBES: Final = (
    Probe(id="a", what="A", why="What every client asks.", puts=(Put(name=_ENTRY),), closes=_OTHER_TYPES),
    Probe(
        id="aaaa",
        what="AAAA",
        why="A client with IPv6 asks it first.",
        puts=(Put(name=_ENTRY, kind=wire.AAAA),),
        closes=_OTHER_TYPES | {"dnsdist": 'SpoofAction({"PAGE4", "PAGE6"}): with one family the other passes'},
    ),
    Probe(
        id="https",
        what="HTTPS",
        why="Browsers ask it with A, and its hints are addresses.",
        puts=(Put(name=_ENTRY, kind=wire.HTTPS),),
        closes=_OTHER_TYPES,
    ),
    Probe(id="svcb", what="SVCB", why=_ANY_TYPE, puts=(Put(name=_ENTRY, kind=wire.SVCB),), closes=_OTHER_TYPES),
    Probe(id="mx", what="MX", why=_ANY_TYPE, puts=(Put(name=_ENTRY, kind=wire.MX),), closes=_OTHER_TYPES),
    Probe(id="txt", what="TXT", why=_ANY_TYPE, puts=(Put(name=_ENTRY, kind=wire.TXT),), closes=_OTHER_TYPES),
    Probe(
        id="any",
        what="ANY",
        why="One question for all records.",
        judge=Judge.SPECIAL,
        puts=(Put(name=_ENTRY, kind=wire.ANY), Put(name=_ENTRY, kind=wire.ANY, over=ask.TCP)),
        closes=_OTHER_TYPES | {"bind": f"{_OTHER_TYPES['bind']}; minimal-any yes;"},
    ),
    Probe(
        id="unknown-type",
        what="a type without a name (RFC 3597)",
        why="A new type must not open the list.",
        puts=(Put(name=_ENTRY, kind=_UNKNOWN_TYPE),),
        closes=_OTHER_TYPES,
    ),
    Probe(
        id="child",
        what="a name below",
        why="www is the name that visitors type.",
        puts=(
            Put(name="www.{entry}"),
            Put(name="www.{entry}", kind=wire.AAAA),
            Put(name="www.{entry}", kind=wire.HTTPS),
        ),
        closes=_BELOW,
    ),
    Probe(
        id="deep-child",
        what="a name far below",
        why="A new name is made in a second, at any depth.",
        puts=(Put(name="a.b.{tag}.{entry}"), Put(name="a.b.{tag}.{entry}", kind=wire.HTTPS)),
        closes=_BELOW,
    ),
    Probe(
        id="underscore-child",
        what="_8443._https below",
        why="Where browsers ask for a port of its own (RFC 9460 2.3).",
        puts=(Put(name="_8443._https.{entry}", kind=wire.HTTPS), Put(name="_dmarc.{entry}", kind=wire.TXT)),
        closes=_BELOW,
    ),
    Probe(
        id="case",
        what="letters of mixed case",
        why="Names have no case (RFC 4343), and clients draw it at random.",
        puts=(Put(name=_ENTRY, mixed=True), Put(name="www.{entry}", kind=wire.HTTPS, mixed=True)),
    ),
    Probe(
        id="alias",
        what="CNAME to it, cold",
        why=_LEADING,
        puts=(Put(name=_ALIAS), Put(name=_ALIAS, kind=wire.AAAA), Put(name=_ALIAS, kind=wire.HTTPS)),
        closes=_ALIASES,
    ),
    Probe(
        id="alias-warm",
        what="CNAME to it, kept",
        why=f"{_LEADING} A cache that is asked before the list answers everybody after the first.",
        puts=(
            Put(name=_ALIAS, warm=True),
            Put(name=_ALIAS, kind=wire.AAAA, warm=True),
            Put(name=_ALIAS, kind=wire.HTTPS, warm=True),
        ),
        closes=_ALIASES,
    ),
    Probe(
        id="alias-chain",
        what="CNAME of CNAME to it",
        why="Content networks have chains of three and more.",
        puts=(Put(name="{tag}.longer.{zone}"), Put(name="{tag}.longer.{zone}", warm=True)),
        closes=_ALIASES,
    ),
    Probe(
        id="dname",
        what="DNAME into it, cold and kept",
        why="One record gives every name below it another place.",
        puts=(Put(name="{tag}.branch.{zone}"), Put(name="{tag}.branch.{zone}", warm=True)),
        closes=_ALIASES,
    ),
    Probe(
        id="alias-mode",
        what="HTTPS and SVCB, AliasMode to it",
        why="A browser follows it, and takes the addresses that come with it.",
        judge=Judge.LED_TO,
        puts=(
            Put(name=_MODE, kind=wire.HTTPS),
            Put(name=_MODE, kind=wire.HTTPS, warm=True),
            Put(name=_MODE, kind=wire.SVCB, warm=True),
        ),
        closes=_LEADS,
    ),
    Probe(
        id="service-mode",
        what="HTTPS and SVCB, ServiceMode to it",
        why="Its hints are addresses of the listed name, under the name of another.",
        judge=Judge.LED_TO,
        puts=(
            Put(name=_SERVICE, kind=wire.HTTPS),
            Put(name=_SERVICE, kind=wire.HTTPS, warm=True),
            Put(name=_SERVICE, kind=wire.SVCB, warm=True),
        ),
        closes={
            product: "no line: it does not judge hints; put a resolver that looks into answers before it"
            for product in PRODUCTS
        },
    ),
    Probe(
        id="additional",
        what="MX to it: what comes in ADDITIONAL",
        why="The exchange may be named; its addresses are data of the listed name.",
        judge=Judge.HIDDEN,
        puts=(
            Put(name="{tag}.post.{zone}", kind=wire.MX),
            Put(name="{tag}.post.{zone}", kind=wire.MX, warm=True, do=True),
        ),
        closes={"bind": "minimal-responses yes;", "unbound": "minimal-responses: yes"},
    ),
    Probe(
        id="rd0",
        what="RD=0, after others have asked",
        why="A query that wants no recursion is answered from the cache, past the list.",
        judge=Judge.NOT_RECURSED,
        puts=(Put(name=_ENTRY, rd=False, warm=True), Put(name=_ALIAS, rd=False, warm=True)),
        closes={
            "bind": 'response-policy { zone "POLICY"; } recursive-only no;',
            "unbound": "access-control: CLIENTS allow, not allow_snoop",
            "recursor": "allow-no-rd=no (5.0 or newer)",
        },
    ),
    Probe(
        id="do",
        what="DO=1, a signed name",
        why="systemd-resolved and every validator ask so.",
        puts=(Put(name=_ENTRY, do=True), Put(name=_ENTRY, kind=wire.HTTPS, do=True), Put(name="www.{entry}", do=True)),
        closes=_SIGNED,
    ),
    Probe(
        id="do-alias",
        what="DO=1, CNAME to it",
        why=f"{_LEADING} Signed answers are the ones that some resolvers do not touch.",
        puts=(Put(name=_ALIAS, do=True), Put(name=_ALIAS, do=True, warm=True)),
        closes=_ALIASES | _SIGNED,
    ),
    Probe(
        id="unsigned",
        what="DO=1, an unsigned name",
        why="Some resolvers decide by the signature whether to enforce.",
        puts=(Put(name="plain.{entry}", do=True), Put(name="plain.{entry}")),
        closes=_SIGNED | _BELOW,
    ),
    Probe(
        id="cd",
        what="CD=1",
        why="What is not validated must not be passed on either.",
        puts=(Put(name=_ENTRY, cd=True), Put(name=_ENTRY, cd=True, do=True), Put(name=_ALIAS, cd=True)),
        closes=_ALIASES | _SIGNED,
    ),
    Probe(
        id="no-edns",
        what="without EDNS",
        why="Windows and many routers ask so.",
        puts=(Put(name=_ENTRY, edns=False), Put(name=_ENTRY, kind=wire.HTTPS, edns=False)),
    ),
    Probe(
        id="tcp",
        what="over TCP",
        why=_OTHER_WAY,
        puts=(
            Put(name=_ENTRY, over=ask.TCP),
            Put(name=_ENTRY, kind=wire.HTTPS, over=ask.TCP),
            Put(name=_ALIAS, over=ask.TCP),
            Put(name=_ALIAS, over=ask.TCP, warm=True),
        ),
        closes=_ALIASES | {"dnsdist": "rules apply to TCP too: see that every address of addLocal is meant"},
    ),
    Probe(
        id="dot",
        what="over DoT",
        why=_OTHER_WAY,
        puts=(
            Put(name=_ENTRY, over=ask.DOT),
            Put(name=_ENTRY, kind=wire.HTTPS, over=ask.DOT),
            Put(name=_ALIAS, over=ask.DOT, warm=True),
        ),
        closes=_ALIASES,
    ),
    Probe(
        id="doh",
        what="over DoH",
        why=_OTHER_WAY,
        puts=(
            Put(name=_ENTRY, over=ask.DOH),
            Put(name=_ENTRY, kind=wire.HTTPS, over=ask.DOH),
            Put(name=_ALIAS, over=ask.DOH, warm=True),
        ),
        closes=_ALIASES,
    ),
    Probe(
        id="doq",
        what="over DoQ",
        why=_OTHER_WAY,
        puts=(
            Put(name=_ENTRY, over=ask.DOQ),
            Put(name=_ENTRY, kind=wire.HTTPS, over=ask.DOQ),
            Put(name=_ALIAS, over=ask.DOQ, warm=True),
        ),
        closes=_ALIASES,
    ),
    Probe(
        id="designated",
        what="resolvers that it designates (RFC 9462)",
        why="Clients leave for them without a word, and are lost to the list if these do not have it.",
        judge=Judge.SPECIAL,
        closes={
            "bind": 'zone "resolver.arpa" { type primary; file "db.empty"; };',
            "unbound": 'local-zone: "resolver.arpa." static',
            "recursor": "auth-zones=resolver.arpa=/etc/powerdns/empty.zone",
            "knot": "policy.add(policy.suffix(policy.DENY, {todname('resolver.arpa')}))",
            "dnsdist": 'addAction(QNameRule("_dns.resolver.arpa."), NegativeAndSOAAction(false, "resolver.arpa.", 60, '
            '"localhost.", "nobody.invalid.", 1, 3600, 600, 86400, 60))',
        },
    ),
    Probe(
        id="ttl",
        what="TTL of a blocked answer, a name of long TTL",
        why="So long a name stays blocked for its visitors after it was released, and nobody can shorten it.",
        judge=Judge.SPECIAL,
        puts=(Put(name=_ENTRY), Put(name="long.{entry}"), Put(name=_ENTRY, kind=wire.HTTPS)),
        closes={
            "bind": 'response-policy { zone "POLICY" max-policy-ttl 60; };',
            "unbound": "the records of the policy zone have a TTL of 60",
            "recursor": 'rpzFile("FILE", {maxTTL=60})',
            "knot": "the records of the policy zone have a TTL of 60",
            "dnsdist": 'SpoofAction({"PAGE4", "PAGE6"}, {ttl=60})',
        },
    ),
    Probe(
        id="cache-in-front",
        what="whether the TTL of a blocked answer counts down",
        why="It does if a cache stands before the list: what is listed, or released, changes only as it expires.",
        judge=Judge.SPECIAL,
        puts=(Put(name=_ENTRY),),
        closes={
            "dnsdist": "no newPacketCache before the list, or {maxTTL=60}",
            "recursor": "disable-packetcache=yes",
        },
    ),
    Probe(
        id="ede",
        what="an extended error (RFC 8914)",
        why="It says that this is a block and no fault: without it the help desk is called.",
        judge=Judge.SPECIAL,
        puts=(Put(name=_ENTRY), Put(name=_ENTRY, kind=wire.HTTPS)),
        closes={
            "bind": 'zone "POLICY" ede censored (not in 9.18)',
            "recursor": 'rpzFile("FILE", {extendedErrorCode=16}) and extended-resolution-errors=yes',
            "knot": "policy.rpz gives 4; nothing to do",
            "dnsdist": "SetExtendedDNSErrorAction(16) (1.9 or newer)",
        },
    ),
    Probe(
        id="structured-error",
        what="a structured error in it (a draft)",
        why="A browser may show from it who blocks and whom to ask.",
        judge=Judge.SPECIAL,
        puts=(Put(name=_ENTRY), Put(name=_ENTRY, kind=wire.HTTPS)),
    ),
    Probe(
        id="policy-named",
        what="a SOA that names the policy",
        why="It names the zone of the list, and often its serial: a way to ask for more.",
        judge=Judge.SPECIAL,
        puts=(Put(name=_ENTRY), Put(name=_ENTRY, kind=wire.HTTPS), Put(name="www.{entry}", kind=wire.MX)),
        closes={
            "bind": 'response-policy { zone "POLICY" add-soa no; };',
            "recursor": 'rpzFile("FILE", {includeSOA=false})',
        },
    ),
    Probe(
        id="policy-readable",
        what="the policy zone can be queried",
        why="A client that asks it learns what is listed, name by name.",
        judge=Judge.SPECIAL,
        closes={
            "bind": 'zone "POLICY" { allow-query { none; }; };',
            "unbound": "rpz: for-downstream: no",
        },
    ),
    Probe(
        id="policy-transferable",
        what="the policy zone can be transferred",
        why="It is the whole list, in one answer.",
        judge=Judge.SPECIAL,
        closes={
            "bind": 'zone "POLICY" { allow-transfer { none; }; };',
            "unbound": "rpz: for-downstream: no",
        },
    ),
    Probe(
        id="strangers",
        what="who is no subscriber gets an answer",
        why="An open resolver is used for attacks, and anybody can try the list out.",
        judge=Judge.SPECIAL,
        closes={
            "bind": "allow-query { CLIENTS; }; allow-recursion { CLIENTS; };",
            "unbound": "access-control: 0.0.0.0/0 refuse, ::/0 refuse, CLIENTS allow",
            "recursor": "allow-from=CLIENTS",
            "knot": "view:addr('CLIENTS', policy.all(policy.PASS)), then view:addr('0.0.0.0/0', "
            "policy.all(policy.REFUSE))",
            "dnsdist": "setACL({CLIENTS})",
        },
    ),
    Probe(
        id="version",
        what="version.bind",
        why="It says for which faults to look.",
        judge=Judge.SPECIAL,
        closes={
            "bind": 'version none; hostname none; server-id none;',
            "unbound": "hide-version: yes, hide-identity: yes",
            "recursor": "version-string=, server-id=disabled",
            "dnsdist": "addAction(QClassRule(DNSClass.CHAOS), RCodeAction(DNSRCode.REFUSED))",
        },
    ),
    Probe(
        id="again",
        what="A, AAAA and a name below, once more",
        why="By now the aliases have brought the real addresses into every cache.",
        puts=(Put(name=_ENTRY), Put(name=_ENTRY, kind=wire.AAAA), Put(name="www.{entry}")),
        closes=_OTHER_TYPES,
    ),
    Probe(
        id="siblings",
        what="open names beside it",
        why="Nothing but the entry may be blocked: its zone and names that look like it are others'.",
        judge=Judge.OPEN,
        puts=(
            Put(name="good.{zone}"),
            Put(name="good.{zone}", kind=wire.AAAA),
            Put(name="good.{zone}", kind=wire.HTTPS),
            Put(name="{zone}"),
            Put(name="{beside}"),
            Put(name="{tag}.wild.{zone}"),
            Put(name="_8443._https.good.{zone}", kind=wire.HTTPS),
            Put(name="{tag}.fine.{zone}"),
            Put(name="good.{zone}", over=ask.TCP),
        ),
        closes=_OPEN,
    ),
    Probe(
        id="validator",
        what="what a validator behind it needs of open names",
        why="Without signatures and keys a validator takes every name of the zone for forged.",
        judge=Judge.SPECIAL,
        puts=(
            Put(name="good.{zone}", do=True),
            Put(name="{zone}", kind=wire.DNSKEY, do=True),
            Put(name="good.{zone}", kind=wire.DS, do=True),
        ),
        closes={
            "bind": "dnssec-enable is always on; see that no forwarder strips signatures",
            "unbound": 'module-config: "respip validator iterator"',
            "recursor": "dnssec=process",
        },
    ),
)

BY_ID: Final = {one.id: one for one in PROBES}
