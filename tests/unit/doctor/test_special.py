"""doctor/special.py: what is not said by one reply: TTLs, extended errors, the policy zone, strangers, versions."""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from resolver.doctor import catalogue, special, wire
from resolver.doctor.ask import Asker, Endpoint, NoReply
from resolver.doctor.probes import Examined
from resolver.doctor.verdicts import Found, Verdict
from resolver.doctor.wire import Record
from tests.unit.doctor.resolvers import (
    DESIGNATION,
    EDE_FORGED,
    HOST,
    POLICY,
    Enforcing,
    Say,
    examination,
    made,
    saying,
)
from tests.unit.doctor.test_ask import behind_tls


def run(*faults: str, say: object = None, **more: object) -> dict[str, tuple[Verdict, str]]:
    with saying(say or Enforcing(*faults)) as place:  # type: ignore[arg-type]  # one of both
        found: Examined = examination(place, **more).run()
    return {one.id: (one.verdict, one.said) for one in found.results}


def test_what_a_resolver_that_enforces_says() -> None:
    found = run(policy_zones=(POLICY,), stranger="127.0.0.9")
    assert found["ttl"] == (Verdict.ENFORCED, "60 s")
    assert found["cache-in-front"] == (Verdict.ENFORCED, "it does not")
    assert found["ede"] == (Verdict.ENFORCED, "4 (Forged Answer)")
    assert found["structured-error"][0] is Verdict.UNKNOWN
    assert found["policy-named"] == (Verdict.ENFORCED, "none names it")
    assert found["policy-readable"] == (Verdict.ENFORCED, "it is not answered")
    assert found["policy-transferable"] == (Verdict.ENFORCED, "it is refused")
    assert found["strangers"] == (Verdict.LEAKS, "an answer as subscribers get it")
    assert found["version"] == (Verdict.ENFORCED, "it is not answered")
    assert found["validator"] == (Verdict.ENFORCED, "signatures, keys and proofs come")


COUNTS_DOWN = "it counts down, from at least 59 s: a cache stands before the list"


@pytest.mark.parametrize(
    ("fault", "id_", "verdict", "said"),
    [
        ("long-ttl", "ttl", Verdict.WEAK, "86,400 s, more than 300 s"),
        ("counts-down", "cache-in-front", Verdict.WEAK, COUNTS_DOWN),
        ("no-ede", "ede", Verdict.WEAK, "none"),
        ("soa", "policy-named", Verdict.LEAKS, "the SOA of a zone that is not above the name asked for"),
        ("version", "version", Verdict.WEAK, "version.bind is answered"),
        ("strips", "validator", Verdict.WEAK, "signatures of open names are left out"),
        ("everything", "ttl", Verdict.UNKNOWN, "no blocked answer with a record"),
        ("everything", "ede", Verdict.UNKNOWN, "no blocked answer"),
        ("everything", "policy-named", Verdict.UNKNOWN, "no blocked answer"),
        ("everything", "structured-error", Verdict.UNKNOWN, "no blocked answer"),
    ],
)
def test_each_fault_is_found(fault: str, id_: str, verdict: Verdict, said: str) -> None:
    assert run(fault)[id_] == (verdict, said)


@pytest.mark.parametrize(
    ("faults", "readable", "transferable"),
    [(("soa",), False, False), (("soa", "readable"), True, False), (("soa", "transfer"), False, True)],
)
def test_a_zone_that_a_soa_named_is_asked_for(faults: tuple[str, ...], readable: bool, transferable: bool) -> None:
    found = run(*faults)
    assert (found["policy-readable"][0] is Verdict.LEAKS) == readable
    assert (found["policy-transferable"][0] is Verdict.LEAKS) == transferable


def test_a_stranger_that_is_refused_or_dropped() -> None:
    class Closed(Enforcing):
        rcode: int | None = wire.REFUSED

        def __call__(self, octets: bytes, over_tcp: bool) -> bytes | None:
            query = wire.read(octets)
            # The only question for an A of the entry behind all others is the stranger's.
            if self.asked_for_policy and query.question[0][1] == wire.A and query.question[0][0] == self.zone.entry:
                from resolver.doctor.zone import Answer

                return None if self.rcode is None else made(query, Answer(self.rcode))
            self.asked_for_policy |= query.question[0][0] == POLICY
            return super().__call__(octets, over_tcp)

        asked_for_policy = False

    for rcode, verdict, said in (
        (wire.REFUSED, Verdict.ENFORCED, "REFUSED"),
        (None, Verdict.ENFORCED, "no reply"),
        (wire.SERVFAIL, Verdict.UNKNOWN, "neither an answer nor REFUSED"),
    ):
        closed = Closed()
        closed.rcode = rcode
        found = run(say=closed, policy_zones=(POLICY,), stranger="127.0.0.9")
        assert found["strangers"] == (verdict, said)
    assert run(stranger="192.0.2.200")["strangers"][0] is Verdict.UNKNOWN, "not an address of this host"


def test_a_stranger_whom_no_packet_reaches_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reply over UDP, and no connection over TCP either: who is silent is not known."""
    asked = Asker.ask

    def ask(self: Asker, query: object, source: str = "") -> object:
        if source:
            raise NoReply("no reply")
        return asked(self, query)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(Asker, "ask", ask)
    assert run(stranger="127.0.0.9")["strangers"] == (Verdict.ENFORCED, "no reply")

    with monkeypatch.context() as unreachable:
        unreachable.setattr(Asker, "reaches", lambda *_: False)
        found = run(stranger="127.0.0.9")["strangers"]
    assert found[0] is Verdict.UNKNOWN
    assert found[1].startswith("no reply, and no connection")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b'{"c": ["mailto:help@isp.example"], "j": "why"}', Verdict.ENFORCED),
        (b"a text", Verdict.UNKNOWN),
        (b"[" * 5000, Verdict.UNKNOWN),
        (b"[1]", Verdict.UNKNOWN),
        (b"\xff", Verdict.UNKNOWN),
    ],
)
def test_a_structured_error_is_an_object(text: bytes, verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.doctor.resolvers.EDE_FORGED", (wire.EDE, b"\0\4" + text))
    assert run(structured_option=65_001)["structured-error"][0] is verdict
    assert EDE_FORGED == (wire.EDE, b"\0\4")


def test_an_extended_error_that_says_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.doctor.resolvers.EDE_FORGED", (wire.EDE, b"\0\3"))
    assert run()["ede"] == (Verdict.WEAK, "none, but [3]")


TARGET = wire.name_of("resolver.test")


def designated(asker: Asker, alpn: bytes = b"dot", *, hint: bool = True, port: int | None = None) -> Record:
    """A designation of the resolver behind this asker."""
    assert asker.dot is not None
    params = [(1, bytes([len(alpn)]) + alpn), (3, (port or asker.dot.port).to_bytes(2, "big"))]
    params += [(4, wire.address(asker.dot.host))] if hint else []
    return Record(DESIGNATION, wire.SVCB, wire.IN, 60, wire.svcb(1, TARGET, params))


def over_tls_as(say: Say) -> Callable[[ssl.SSLSocket], None]:
    def talk(stream: ssl.SSLSocket) -> None:
        query = stream.recv(4096)
        reply = say(query[2:], True)
        assert reply
        stream.sendall(len(reply).to_bytes(2, "big") + reply)

    return talk


@pytest.mark.parametrize(
    ("faults", "hint", "verdict", "said"),
    [
        ((), True, Verdict.ENFORCED, "1 designated, and each blocks it"),
        ((), False, Verdict.ENFORCED, "1 designated, and each blocks it"),
        (("everything",), True, Verdict.LEAKS, "a designated resolver, dot: A of the listed name in ANSWER"),
        (("other-page",), True, Verdict.WEAK, "a designated resolver, dot: A that is not the page's"),
    ],
)
def test_what_is_designated_has_to_block_as_this_one_does(
    faults: tuple[str, ...], hint: bool, verdict: Verdict, said: str, tmp_path: Path
) -> None:
    here, there = Enforcing(), Enforcing(*faults)
    with saying(here) as place, behind_tls(over_tls_as(there), tmp_path) as other:
        here.designated = [designated(other, hint=hint)]
        here.beside = [Record(TARGET, wire.A, wire.IN, 60, wire.address(HOST))]
        run = examination(place)
        run.expected = run.look()
        run.asker.ca = other.ca
        found = special.Special(run).judge(catalogue.BY_ID["designated"])
    assert (found.verdict, found.said) == (verdict, said)


def test_what_is_designated_and_not_asked_is_unknown(tmp_path: Path) -> None:
    here = Enforcing()
    with saying(here) as place:
        run = examination(place)
        run.expected = run.look()
        judge = partial(special.Special(run).judge, catalogue.BY_ID["designated"])
        assert judge() == Found(Verdict.ENFORCED, "none is designated")
        nobody = Asker(place, dot=Endpoint(HOST, 1))
        for alpn, reason in ((b"h3", "over a transport that is not asked here"), (b"dot", "nothing answers")):
            here.designated = [designated(nobody, alpn)]
            assert judge().verdict is Verdict.UNKNOWN
            assert reason in judge().said
        here.designated = [Record(DESIGNATION, wire.SVCB, wire.IN, 60, b"\0")]
        assert "cannot be read" in judge().said
        here.designated = [designated(nobody, port=at) for at in range(1, 10)]
        assert judge() == Found(Verdict.UNKNOWN, "more than 8 are designated")
