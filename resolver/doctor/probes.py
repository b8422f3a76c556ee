"""Probes one resolver: puts the questions of the catalogue, and has the replies judged.

Rules:
- First an open name of the probe zone is asked: without it nothing that follows would mean anything (NotProbed).
- Then the entry's A and AAAA show what blocked answers look like, unless the operator said so.
- Each question has a tag of its own in its name, so that it finds nothing kept but what it has put there itself.
- REFUSED shows a block only while an open name is answered: a resolver that limits its clients refuses that, too.
- A question that gets no reply is UNKNOWN with the reason; the others go on, until the budget is spent.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from resolver.doctor import ask, catalogue, special, verdicts, wire
from resolver.doctor.ask import Asker, Query, Silence
from resolver.doctor.catalogue import Judge, Probe, Put
from resolver.doctor.verdicts import Expected, Found, Verdict
from resolver.doctor.wire import Message, Name


class NotProbed(Exception):
    """Raised if the probe zone cannot be reached through the resolver; its text says what to do."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one probe found."""

    id: str
    verdict: Verdict
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What all probes of one resolver found."""

    server: str
    expected: Expected | None
    results: tuple[Result, ...]
    queries: int
    seconds: float

    def count(self, verdict: Verdict) -> int:
        """Return how many probes have this verdict."""
        return sum(one.verdict is verdict for one in self.results)


@dataclass(slots=True, kw_only=True)
class Examination:
    """One run of all probes of one resolver."""

    asker: Asker
    entry: Name
    expected: Expected | None = None
    policy_zones: tuple[Name, ...] = ()
    stranger: str = ""
    structured_option: int = 0
    pause: Callable[[float], object] = threading.Event().wait
    replies: list[tuple[Name, Message]] = field(default_factory=list, init=False)
    """Every reply to a question for the entry, with the name asked."""

    def run(self) -> Examined:
        """Put every question; NotProbed if there is no reply to judge by."""
        started = self.asker.clock()
        self._reach()
        special_ = special.Special(self)
        special_.begin()
        if self.expected is None:
            self.expected = self._learnt()
        results = tuple(self._result(one, special_) for one in catalogue.PROBES)
        return Examined(
            server=str(self.asker.server),
            expected=self.expected,
            results=results,
            queries=self.asker.sent,
            seconds=self.asker.clock() - started,
        )

    def look(self) -> Expected | None:
        """Return what the resolver's own blocked answers look like, None if they are none; NotProbed as `run`."""
        self._reach()
        return self._learnt()

    def _reach(self) -> None:
        """See that the zone is reached and is the one of `zone`: an open name has its own address."""
        try:
            reply = self.asker.ask(self._open())
        except Silence as silence:
            raise NotProbed(f"{self.asker.server}: {silence}; --server ADDR:PORT names the resolver") from None
        if verdicts.judge_open(reply, wire.A, None).verdict is not Verdict.ENFORCED:
            raise NotProbed(
                f"{self.asker.server} does not reach the probe zone ({wire.RCODES.get(reply.rcode, reply.rcode)}): "
                "delegate or forward it to `doctor --serve-zone`"
            )

    def _learnt(self) -> Expected | None:
        try:
            a = self.asker.ask(Query(name=self.entry, kind=wire.A))
            aaaa = self.asker.ask(Query(name=self.entry, kind=wire.AAAA))
        except Silence:
            return None
        return verdicts.learnt(a, aaaa)

    def _result(self, probe: Probe, special_: special.Special) -> Result:
        found = special_.judge(probe) if probe.judge is Judge.SPECIAL else verdicts.worst(self.judged(probe))
        if found.verdict is Verdict.ENFORCED and found.said.startswith("REFUSED") and not self._answers():
            found = verdicts.Found(Verdict.UNKNOWN, "REFUSED, but open names get no answer either: a limit of rate?")
        return Result(probe.id, found.verdict, found.said)

    def _open(self) -> Query:
        return Query(name=(b"good", *self.entry[1:]), kind=wire.A)

    def _answers(self) -> bool:
        """Return whether an open name gets its own data now."""
        try:
            reply = self.asker.ask(self._open())
        except Silence:
            return False
        return verdicts.judge_open(reply, wire.A, None).verdict is Verdict.ENFORCED

    def judged(self, probe: Probe) -> Iterator[Found]:
        """Yield what each question of a probe found; nothing more once nobody answers that way."""
        for put in probe.puts:
            try:
                reply = self.put(put)
            except Silence as silence:
                yield Found(Verdict.UNKNOWN, str(silence))
                if put.over in (ask.DOT, ask.DOH, ask.DOQ):
                    return
                continue
            yield self._of(probe.judge, reply, put.kind)

    def _of(self, judge: Judge, reply: Message, kind: int) -> Found:
        expected = self.expected
        if judge is Judge.NOT_RECURSED:
            return verdicts.judge_not_recursed(reply, kind, expected)
        if judge is Judge.LED_TO:
            return verdicts.judge_led_to(reply, kind, expected)
        if judge is Judge.HIDDEN:
            return verdicts.judge_hidden(reply, kind)
        if judge is Judge.OPEN:
            return verdicts.judge_open(reply, kind, expected)
        return verdicts.judge_blocked(reply, kind, expected)

    def put(self, put: Put, options: tuple[tuple[int, bytes], ...] = ()) -> Message:
        """Put one question, twice if it is to be warm; return the reply to the last one."""
        name = self.named(put)
        query = Query(
            name=name, kind=put.kind, rd=put.rd, edns=put.edns, do=put.do, cd=put.cd, over=put.over, options=options
        )
        if put.warm:
            first = Query(name=name, kind=put.kind, edns=put.edns, do=put.do, cd=put.cd, over=put.over)
            self.asker.ask(first)
        reply = self.asker.ask(query)
        self.replies.append((name, reply))
        return reply

    def named(self, put: Put) -> Name:
        """Return the name of a question."""
        zone = wire.text_of(self.entry[1:]).removesuffix(".")
        text = put.name.format(
            entry=wire.text_of(self.entry).removesuffix("."),
            zone=zone,
            beside=f"{self.entry[0].decode()}x.{zone}",
            tag=f"t{secrets.token_hex(5)}",
        )
        name = wire.name_of(text)
        return tuple(_mixed(one) for one in name) if put.mixed else name


def _mixed(label: bytes) -> bytes:
    return bytes(octet ^ (0x20 if at % 2 == 0 and chr(octet).isalpha() else 0) for at, octet in enumerate(label))
