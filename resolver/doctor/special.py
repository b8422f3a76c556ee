"""Judges the probes whose rule is not that of one reply: TTLs, errors, the policy zone, strangers, what is designated.

Rules:
- A TTL, an extended error or a SOA is judged only of a reply that is what blocked answers look like.
- Of a policy zone nothing is kept: one message of a transfer is enough to know that it is given.
"""

import ipaddress
import json
from collections.abc import Iterator
from typing import Final, Protocol

from resolver.doctor import ask, verdicts, wire
from resolver.doctor.ask import Asker, Endpoint, NoReply, Query, Silence
from resolver.doctor.catalogue import BY_ID, Probe, Put
from resolver.doctor.verdicts import Expected, Found, Verdict
from resolver.doctor.wire import Message, Name, Record

MOST_TTL: Final = 300
MOST_ZONES: Final = 8
"""Zones that are taken for the policy's; a resolver may name any number."""
MOST_DESIGNATED: Final = 8
"""Designated resolvers that are asked; a reply may have any number."""
APART_S: Final = 2.2
"""Between the two looks at a TTL: one that counts down has lost two seconds, whatever is rounded."""
BLOCKS: Final = {4: "Forged Answer", 15: "Blocked", 16: "Censored", 17: "Filtered"}
"""The codes of RFC 8914 that say that a name is blocked."""
_ALPN, _PORT, _HINT_4, _HINT_6, _PATH = 1, 3, 4, 6, 7
"""Keys of an SVCB record (RFC 9460 14.3.2, RFC 9461 5)."""
_OVER: Final = {b"dot": (ask.DOT, 853), b"h2": (ask.DOH, 443), b"doq": (ask.DOQ, 853)}
_TOLD: Final = ("version.bind", "hostname.bind", "id.server", "version.server")


class Run(Protocol):
    """What these rules use of an examination (`probes.Examination`)."""

    asker: Asker
    entry: Name
    expected: Expected | None
    policy_zones: tuple[Name, ...]
    stranger: str
    structured_option: int
    replies: list[tuple[Name, Message]]

    def pause(self, seconds: float, /) -> object:
        """Wait."""

    def put(self, put: Put, options: tuple[tuple[int, bytes], ...] = ()) -> Message:
        """Put one question; return the reply."""


class Special:
    """Judges the special probes of one examination."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._first: tuple[float, int] | None = None

    def begin(self) -> None:
        """Look at the TTL of a blocked answer for the first time."""
        ttl = self._ttl_now()
        self._first = None if ttl is None else (self._run.asker.clock(), ttl)

    def judge(self, probe: Probe) -> Found:
        """Return what a special probe found."""
        rules = {
            "any": self._any,
            "ttl": self._ttl,
            "cache-in-front": self._cache_in_front,
            "ede": self._ede,
            "structured-error": self._structured_error,
            "policy-named": self._policy_named,
            "policy-readable": self._policy_readable,
            "policy-transferable": self._policy_transferable,
            "strangers": self._strangers,
            "designated": self._designated,
            "version": self._version,
            "validator": self._validator,
        }
        try:
            return rules[probe.id]()
        except Silence as silence:
            return Found(Verdict.UNKNOWN, str(silence))

    def _any(self) -> Found:
        return verdicts.worst(
            verdicts.judge_any(self._run.put(put), self._run.expected) for put in BY_ID["any"].puts
        )

    def _blocked(self, id_: str, options: tuple[tuple[int, bytes], ...] = ()) -> list[Message]:
        """Return the replies to a probe's questions that are what blocked answers look like."""
        if self._run.expected is None:
            return []
        replies = [(put, self._run.put(put, options)) for put in BY_ID[id_].puts]
        return [
            reply
            for put, reply in replies
            if not verdicts.leak_in(reply) and not verdicts.blocked(reply, put.kind, self._run.expected)
        ]

    def _ttl(self) -> Found:
        ttls = [_ttl_of(one) for one in self._blocked("ttl")]
        found = [one for one in ttls if one is not None]
        if not found:
            return Found(Verdict.UNKNOWN, "no blocked answer with a record")
        if max(found) > MOST_TTL:
            return Found(Verdict.WEAK, f"{max(found):,} s, more than {MOST_TTL} s")
        return Found(Verdict.ENFORCED, f"{max(found)} s")

    def _ttl_now(self) -> int | None:
        try:
            reply = self._run.asker.ask(Query(name=self._run.entry, kind=wire.A))
        except Silence:
            return None
        return None if verdicts.leak_in(reply) else _ttl_of(reply)

    def _cache_in_front(self) -> Found:
        if self._first is None or self._run.expected is None:
            return Found(Verdict.UNKNOWN, "no blocked answer with a record")
        at, first = self._first
        self._run.pause(max(0.0, APART_S - (self._run.asker.clock() - at)))
        second = self._ttl_now()
        if second is None:
            return Found(Verdict.UNKNOWN, "no second answer with a record")
        if second < first:
            return Found(Verdict.WEAK, f"it counts down, from at least {first:,} s: a cache stands before the list")
        return Found(Verdict.ENFORCED, "it does not")

    def _ede(self) -> Found:
        replies = self._blocked("ede")
        if not replies:
            return Found(Verdict.UNKNOWN, "no blocked answer")
        codes = [{int.from_bytes(one[:2], "big") for one in _errors(reply)} for reply in replies]
        missing = [found for found in codes if not found & BLOCKS.keys()]
        if missing:
            other = sorted(set().union(*missing))
            return Found(Verdict.WEAK, f"none, but {other}" if other else "none")
        code = min(codes[0] & BLOCKS.keys())
        return Found(Verdict.ENFORCED, f"{code} ({BLOCKS[code]})")

    def _structured_error(self) -> Found:
        option = self._run.structured_option
        # Such a client gets no forged answer, so that the reply need not be what blocked answers look like.
        replies = [self._run.put(put, ((option, b""),) if option else ()) for put in BY_ID["structured-error"].puts]
        if any(verdicts.leak_in(one) for one in replies):
            return Found(Verdict.UNKNOWN, "no blocked answer")
        if all(any(_is_json(error[2:]) for error in _errors(one)) for one in replies):
            return Found(Verdict.ENFORCED, "there is one")
        return Found(Verdict.UNKNOWN, "none; a draft, and an option: --structured-option N asks for it")

    def _policy_named(self) -> Found:
        for put in BY_ID["policy-named"].puts:
            self._run.put(put)
        named = self._named()
        if named:
            return Found(Verdict.LEAKS, "the SOA of a zone that is not above the name asked for")
        if self._run.expected is None:
            return Found(Verdict.UNKNOWN, "no blocked answer")
        return Found(Verdict.ENFORCED, "none names it")

    def _named(self) -> list[Name]:
        """Return the owners of SOA records that are not above the name that was asked."""
        found: dict[Name, None] = {}
        for asked, reply in self._run.replies:
            # What an alias leads to is denied with the SOA of its own zone: the probe zone, or that of a page by name.
            known = [wire.lower(asked), *(wire.target_of(one) for one in reply.answer if one.kind == wire.CNAME)]
            for owner in {wire.lower(one.name) for one in reply.records if one.kind == wire.SOA}:
                above = any(wire.below(one, owner) for one in known)
                if not above and not wire.below(owner, self._run.entry[1:]) and len(found) < MOST_ZONES:
                    found[owner] = None
        return list(found)

    def _zones(self) -> list[Name]:
        return list(dict.fromkeys([*map(wire.lower, self._run.policy_zones), *self._named()]))

    def _policy_readable(self) -> Found:
        zones = self._zones()
        if not zones:
            return Found(Verdict.UNKNOWN, "its name is not known: --policy-zone NAME says it")
        for zone in zones:
            trigger = self._run.entry + zone
            for name, kind in ((zone, wire.SOA), (trigger, wire.A), (trigger, wire.CNAME)):
                if len(wire.wire_of(name)) > 255:
                    continue
                reply = self._run.asker.ask(Query(name=name, kind=kind))
                if reply.rcode == wire.NOERROR and any(wire.below(wire.lower(one.name), zone) for one in reply.answer):
                    return Found(Verdict.LEAKS, "it is answered")
        return Found(Verdict.ENFORCED, "it is not answered")

    def _policy_transferable(self) -> Found:
        zones = self._zones()
        if not zones:
            return Found(Verdict.UNKNOWN, "its name is not known: --policy-zone NAME says it")
        for zone in zones:
            for kind, word in ((wire.AXFR, "AXFR"), (wire.IXFR, "IXFR")):
                reply = self._run.asker.transfer(zone, kind)
                if reply is not None and reply.rcode == wire.NOERROR and len(reply.answer) > (kind == wire.IXFR):
                    return Found(Verdict.LEAKS, f"{word} gives it")
        return Found(Verdict.ENFORCED, "it is refused")

    def _strangers(self) -> Found:
        if not self._run.stranger:
            return Found(Verdict.UNKNOWN, "--stranger ADDRESS is one of this host that is no subscriber's")
        try:
            reply = self._run.asker.ask(Query(name=self._run.entry, kind=wire.A), self._run.stranger)
        except NoReply:
            if self._run.asker.reaches(self._run.stranger):
                return Found(Verdict.ENFORCED, "no reply")
            return Found(Verdict.UNKNOWN, "no reply, and no connection: perhaps nothing comes back to this address")
        if reply.rcode == wire.REFUSED:
            return Found(Verdict.ENFORCED, "REFUSED")
        if reply.rcode in (wire.NOERROR, wire.NXDOMAIN):
            return Found(Verdict.LEAKS, "an answer as subscribers get it")
        return Found(Verdict.UNKNOWN, "neither an answer nor REFUSED")

    def _designated(self) -> Found:
        reply = self._run.asker.ask(Query(name=wire.name_of("_dns.resolver.arpa"), kind=wire.SVCB))
        if reply.rcode not in (wire.NOERROR, wire.NXDOMAIN):
            return Found(Verdict.UNKNOWN, f"{wire.RCODES.get(reply.rcode, reply.rcode)} for _dns.resolver.arpa")
        records = [one for one in reply.answer if one.kind == wire.SVCB]
        if not records:
            return Found(Verdict.ENFORCED, "none is designated")
        if len(records) > MOST_DESIGNATED:
            return Found(Verdict.UNKNOWN, f"more than {MOST_DESIGNATED} are designated")
        found = verdicts.worst(self._of_designated(one, reply) for one in records)
        if found.verdict is Verdict.ENFORCED:
            return Found(Verdict.ENFORCED, f"{len(records)} designated, and each blocks it")
        return found

    def _of_designated(self, record: Record, reply: Message) -> Found:
        """Put the entry to a resolver that is designated, over the first of its transports that is known here."""
        try:
            priority, target, params = wire.svcb_of(record.data)
            protocols = [] if priority == 0 else list(_alpn(params.get(_ALPN, b"")))
            name = wire.text_of(target).removesuffix(".")
        except wire.Malformed as error:
            return Found(Verdict.UNKNOWN, f"a designation cannot be read: {error}")
        over, port = next((_OVER[one] for one in protocols if one in _OVER), ("", 0))
        if not over:
            return Found(Verdict.UNKNOWN, "a resolver is designated over a transport that is not asked here")
        port = int.from_bytes(params[_PORT], "big") if _PORT in params else port
        path = params.get(_PATH, b"/dns-query").partition(b"{")[0].decode("ascii", "replace")
        place = Endpoint(self._address_of(target, params, reply), port)
        asker = self._run.asker.beside(place, name, path)
        try:
            said = asker.ask(Query(name=self._run.entry, kind=wire.A, over=over))
        except Silence as silence:
            return Found(Verdict.UNKNOWN, f"a designated resolver, {over}: {silence}")
        found = verdicts.judge_blocked(said, wire.A, self._run.expected)
        if found.verdict is Verdict.UNKNOWN and self._run.expected is not None:
            return Found(Verdict.WEAK, f"a designated resolver, {over}: {found.said}")
        return Found(found.verdict, f"a designated resolver, {over}: {found.said}")

    def _address_of(self, target: Name, params: dict[int, bytes], reply: Message) -> str:
        """Return a hint, else an address that came with the reply, else that of the resolver itself."""
        server = self._run.asker.server.host
        of_target = [one for one in reply.additional if wire.lower(one.name) == wire.lower(target)]
        v4 = [params.get(_HINT_4, b"")[:4], *(one.data for one in of_target if one.kind == wire.A)]
        v6 = [params.get(_HINT_6, b"")[:16], *(one.data for one in of_target if one.kind == wire.AAAA)]
        wanted = [*v6, *v4] if ":" in server else [*v4, *v6]
        return next((str(ipaddress.ip_address(one)) for one in wanted if len(one) in (4, 16)), server)

    def _version(self) -> Found:
        for text in _TOLD:
            reply = self._run.asker.ask(Query(name=wire.name_of(text), kind=wire.TXT, rdclass=wire.CHAOS))
            if any(one.kind == wire.TXT and one.data.strip(b"\0") for one in reply.answer):
                return Found(Verdict.WEAK, f"{text} is answered")
        return Found(Verdict.ENFORCED, "it is not answered")

    def _validator(self) -> Found:
        address, keys, ds = (self._run.put(put) for put in BY_ID["validator"].puts)
        if any(one.rcode != wire.NOERROR for one in (address, keys, ds)):
            return Found(Verdict.UNKNOWN, "an open name is not answered")
        if not any(one.kind == wire.RRSIG for one in address.answer):
            return Found(Verdict.WEAK, "signatures of open names are left out")
        if not any(one.kind == wire.DNSKEY for one in keys.answer):
            return Found(Verdict.WEAK, "the keys of the zone are left out")
        if not any(one.kind == wire.NSEC for one in ds.authority):
            return Found(Verdict.WEAK, "the proof that an open name has no DS is left out")
        return Found(Verdict.ENFORCED, "signatures, keys and proofs come")


def _alpn(data: bytes) -> Iterator[bytes]:
    """Yield the protocols of an `alpn` parameter (RFC 9460 7.1.1)."""
    at = 0
    while at < len(data):
        size = data[at]
        yield data[at + 1 : at + 1 + size]
        at += 1 + size


def _ttl_of(reply: Message) -> int | None:
    """Return how long a blocked answer lives: the longest TTL of its records, or that of its SOA (RFC 2308 5)."""
    if reply.answer:
        return max(one.ttl for one in reply.answer)
    soas = [min(one.ttl, int.from_bytes(one.data[-4:], "big")) for one in reply.authority if one.kind == wire.SOA]
    return max(soas, default=None)


def _errors(reply: Message) -> list[bytes]:
    return [data for code, data in reply.options if code == wire.EDE and len(data) >= 2]


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
