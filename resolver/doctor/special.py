"""Judges the probes whose rule is not that of one reply: TTLs, extended errors, the policy zone, strangers, versions.

Rules:
- A TTL, an extended error or a SOA is judged only of a reply that is what blocked answers look like.
- Of a policy zone nothing is kept: one message of a transfer is enough to know that it is given.
"""

import json
from typing import Final, Protocol

from resolver.doctor import verdicts, wire
from resolver.doctor.ask import Asker, NoReply, Query, Silence
from resolver.doctor.catalogue import BY_ID, Probe, Put
from resolver.doctor.verdicts import Expected, Found, Verdict
from resolver.doctor.wire import Message, Name

MOST_TTL: Final = 300
MOST_ZONES: Final = 8
"""Zones that are taken for the policy's; a resolver may name any number."""
APART_S: Final = 2.2
"""Between the two looks at a TTL: one that counts down has lost two seconds, whatever is rounded."""
BLOCKS: Final = {4: "Forged Answer", 15: "Blocked", 16: "Censored", 17: "Filtered"}
"""The codes of RFC 8914 that say that a name is blocked."""
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
            return Found(Verdict.ENFORCED, "no reply")
        if reply.rcode == wire.REFUSED:
            return Found(Verdict.ENFORCED, "REFUSED")
        if reply.rcode in (wire.NOERROR, wire.NXDOMAIN):
            return Found(Verdict.LEAKS, "an answer as subscribers get it")
        return Found(Verdict.UNKNOWN, "neither an answer nor REFUSED")

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
