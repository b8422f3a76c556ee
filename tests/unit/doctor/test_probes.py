"""doctor/probes.py: of a resolver that enforces nothing is found, and each fault is found where it is."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver.doctor import catalogue, verdicts, wire
from resolver.doctor.ask import Asker, Endpoint
from resolver.doctor.probes import Examination, Examined, NotProbed
from resolver.doctor.verdicts import Expected, Verdict
from resolver.doctor.zone import Answer, Zone
from tests.unit.doctor.resolvers import ENTRY, HOST, PAGE4, PAGE6, Enforcing, examination, made, responder, saying

NOT_SEEN = {"dot", "doh", "doq", "structured-error", "policy-readable", "policy-transferable", "strangers"}
"""What this resolver does not offer, and what is asked only if the operator says more."""
BY_TARGET = {"alias", "alias-warm", "alias-chain", "dname", "alias-mode", "service-mode"}


def examined(*faults: str, **more: object) -> Examined:
    with saying(Enforcing(*faults)) as place:
        return examination(place, **more).run()


def of(found: Examined, *wanted: Verdict) -> set[str]:
    return {one.id for one in found.results if one.verdict in wanted}


def test_a_resolver_that_enforces_has_no_finding() -> None:
    found = examined()
    assert of(found, Verdict.UNKNOWN) == NOT_SEEN, found.results
    assert of(found, Verdict.ENFORCED) == set(catalogue.BY_ID) - NOT_SEEN
    assert found.expected == Expected(v4=frozenset({PAGE4}), v6=frozenset({PAGE6}), learnt=True)
    assert 80 < found.queries < 250
    assert found.count(Verdict.ENFORCED) == len(catalogue.PROBES) - len(NOT_SEEN)


def test_refused_is_no_block_where_a_limit_refuses_all() -> None:
    """A resolver that blocks nothing, and refuses whatever comes after some questions."""

    class Limited(Enforcing):
        left = 30

        def __call__(self, octets: bytes, over_tcp: bool) -> bytes | None:
            self.left -= 1
            if self.left > 0:
                return super().__call__(octets, over_tcp)
            return made(wire.read(octets), Answer(wire.REFUSED))

    expected = Expected(wire.REFUSED)
    with saying(Limited("everything")) as place:
        found = examination(place, expected=expected).run()
    # What is looked for in replies, and is in none of them.
    assert of(found, Verdict.ENFORCED) <= {"cache-in-front", "designated", "version", "policy-named"}
    refused = {one.id for one in found.results if one.said.startswith("REFUSED, but open names")}
    assert {"do-alias", "no-edns", "tcp", "again"} <= refused, found.results
    assert {"a", "aaaa", "https"} <= of(found, Verdict.LEAKS), found.results


FAULTS: dict[str, set[str]] = {
    "aaaa": {"aaaa", "child", "again"},
    "other-types": {"https", "svcb", "mx", "txt", "any", "unknown-type", "child", "deep-child", "underscore-child",
                    "case", "do", "no-edns", "tcp"},
    "child": {"child", "deep-child", "underscore-child", "case", "do", "unsigned", "again"},
    "case": {"case"},
    "aliases": BY_TARGET | {"additional", "do-alias", "cd", "tcp"},
    "warm": (BY_TARGET - {"alias"}) | {"additional", "do-alias", "tcp"},
    "do": {"do", "do-alias", "cd", "additional"},
    "cd": {"cd"},
    "rd0": {"rd0"},
    "tcp": {"tcp", "any"},
    "no-edns": {"no-edns"},
    "additional": {"additional"},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_leak_is_found_where_it_is(fault: str) -> None:
    found = examined(fault)
    assert of(found, Verdict.LEAKS) == FAULTS[fault]
    assert of(found, Verdict.OVER_BLOCKS) == set()


def test_what_the_operator_said_is_what_counts() -> None:
    found = examined(expected=Expected(v4=frozenset({wire.address("192.0.2.99")})))
    assert of(found, Verdict.LEAKS, Verdict.OVER_BLOCKS) == set()
    assert {"a", "aaaa", "child", "tcp"} <= of(found, Verdict.UNKNOWN)
    assert {"https", "txt"} <= of(found, Verdict.ENFORCED)
    assert found.expected is not None
    assert not found.expected.learnt


def test_a_resolver_that_enforces_nothing_leaks_and_nothing_is_called_enforced_by_a_guess() -> None:
    found = examined("everything")
    assert found.expected is None
    assert {"a", "aaaa", "https", "alias", "do", "tcp"} <= of(found, Verdict.LEAKS)
    assert of(found, Verdict.ENFORCED) == {"rd0", "version", "siblings", "validator", "designated"}


def test_over_blocking_is_found() -> None:
    found = examined("too-wide")
    assert of(found, Verdict.OVER_BLOCKS) == {"siblings"}
    assert of(found, Verdict.LEAKS) == set()


def test_without_the_zone_nothing_is_judged() -> None:
    with (
        saying(lambda octets, over_tcp: made(wire.read(octets), Answer(wire.NXDOMAIN))) as place,
        pytest.raises(NotProbed, match=r"does not reach the probe zone \(NXDOMAIN\): delegate or forward it"),
    ):
        examination(place).run()
    nobody = Examination(asker=Asker(Endpoint(HOST, 1), wait_s=20.0), entry=ENTRY)
    with pytest.raises(NotProbed, match=r"127.0.0.1:1: nothing answers"):
        nobody.look()


def test_a_look_alone_says_what_blocked_answers_are() -> None:
    with saying(Enforcing()) as place:
        assert str(examination(place).look()) == "192.0.2.1 2001:db8::1"
    with saying(Enforcing("everything")) as place:
        assert examination(place).look() is None


def test_the_budget_leaves_the_rest_unknown() -> None:
    with saying(Enforcing()) as place:
        one = examination(place)
        one.asker = dataclasses.replace(one.asker, queries=10)
        found = one.run()
    assert found.queries == 10
    assert found.results[-1].said == "the budget of queries or time is spent"
    assert {one.verdict for one in found.results} == {Verdict.ENFORCED, Verdict.UNKNOWN}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=8), st.integers(0, 6))
def test_no_reply_makes_it_fail(tails: list[bytes], counts: int) -> None:
    """Behind a right head and question come any octets; the zone itself is reached."""
    zone, asked = Zone(ENTRY), [0]

    def say(octets: bytes, over_tcp: bool) -> bytes | None:
        asked[0] += 1
        if asked[0] == 1:
            return responder(zone)(octets, over_tcp)
        query = wire.read(octets)
        name, kind, rdclass = query.question[0]
        head = octets[:2] + b"\x81\x80\0\1" + b"".join((counts >> at & 1).to_bytes(2, "big") for at in range(3))
        question = wire.wire_of(name) + kind.to_bytes(2, "big") + rdclass.to_bytes(2, "big")
        return head + question + tails[asked[0] % len(tails)]

    with saying(say) as place:
        one = examination(place)
        one.asker = dataclasses.replace(one.asker, queries=120, wait_s=20.0)
        found = one.run()
    assert len(found.results) == len(catalogue.PROBES)
    assert verdicts.Verdict.OVER_BLOCKS not in {one.verdict for one in found.results if one.id != "siblings"}
