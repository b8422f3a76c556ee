"""Verdicts on replies: by all lists, which the cache keeps, and by those that judge the client."""

import dns.message
import pytest

from resolver.core import codes
from resolver.query.recheck import Judged, Recheck
from tests.unit.query.parts import generation, query, reply_of

LISTS = (("first.test",), ("second.test",))
A = " 300 A 198.51.100.7"
CASES = [
    # ANSWER, ADDITIONAL, scope, for all, for the client, whether ADDITIONAL goes
    (["open.test." + A], [], codes.ALL_LISTS, codes.PASS, codes.PASS, False),
    (["first.test." + A], [], codes.ALL_LISTS, codes.BLOCK, codes.BLOCK, False),
    (["first.test." + A], [], 2, codes.BLOCK, codes.PASS, False),
    (["first.test." + A], [], 1, codes.BLOCK, codes.BLOCK, False),
    (["first.test." + A, "second.test." + A], [], 2, codes.BLOCK, codes.BLOCK, False),
    (["first.test." + A], [], 0, codes.BLOCK, codes.PASS, False),
    (["open.test." + A], ["first.test." + A], codes.ALL_LISTS, codes.PASS, codes.PASS, True),
    (["open.test." + A], ["first.test." + A], 2, codes.PASS, codes.PASS, True),
    (["first.test." + A], ["second.test." + A], 2, codes.BLOCK, codes.PASS, True),
    (["first.test." + A], ["second.test." + A], 1, codes.BLOCK, codes.BLOCK, False),
]


@pytest.mark.parametrize(("answer", "additional", "scope", "for_all", "for_client", "gone"), CASES)
def test_verdicts_by_all_lists_and_by_the_clients(
    answer: list[str], additional: list[str], scope: int, for_all: int, for_client: int, gone: bool
) -> None:
    recheck = Recheck()
    octets = bytearray(reply_of(query("open.test"), answer, (), additional).to_wire())
    assert recheck.judge(generation(1, LISTS), octets, scope) == Judged(for_all, for_client)
    assert bool(recheck.message.drop_additional) == gone
    trimmed = dns.message.from_wire(bytes(octets[: recheck.message.end]))
    assert trimmed.edns == -1, "OPT is hop by hop"
    assert len(trimmed.answer) == len(answer)
    if for_client == codes.PASS:
        assert len(trimmed.additional) == (0 if gone else len(additional))
    assert recheck.verdict.errors == 0


def test_the_verdict_tells_which_list_answers() -> None:
    recheck = Recheck()
    octets = bytearray(reply_of(query("open.test"), ["first.test." + A, "second.test." + A]).to_wire())
    for scope, slot in ((codes.ALL_LISTS, 0), (1, 0), (2, 1)):
        recheck.judge(generation(1, LISTS), bytearray(octets), scope)
        assert recheck.verdict.slot == slot


def test_a_reply_that_does_not_end_where_it_should_asks() -> None:
    octets = reply_of(query("open.test", edns=False), ["open.test." + A, "open.test." + A[:-1] + "8"]).to_wire()
    for count in range(1, 60):
        cut, more = Recheck(), Recheck()
        short = bytearray(octets[:-count])
        assert cut.judge(generation(1, LISTS), short, codes.ALL_LISTS) == Judged(codes.ASK, codes.ASK)
        assert more.judge(generation(1, LISTS), bytearray(octets) + b"\0" * count, codes.ALL_LISTS).for_all == codes.ASK


@pytest.mark.parametrize("scope", [0, 1, codes.ALL_LISTS])
def test_more_names_than_an_honest_reply_has_asks_whoever_it_is_for(scope: int) -> None:
    made = reply_of(query("open.test"), [f"n{n}.test. 300 CNAME m{n}.test." for n in range(300)])
    recheck = Recheck()
    octets = bytearray(made.to_wire(max_size=65535))
    assert recheck.judge(generation(1, LISTS), octets, scope) == Judged(codes.ASK, codes.ASK)
    assert recheck.verdict.errors == 0, "who sent it is at fault, not we"


@pytest.mark.parametrize(
    ("authority", "verdict"),
    [
        ("first.test. 300 A 198.51.100.7", codes.BLOCK),
        ("first.test. 300 AAAA 2001:db8::7", codes.BLOCK),
        ("x.first.test. 300 HTTPS 1 .", codes.BLOCK),
        ("other.test. 300 CNAME first.test.", codes.BLOCK),
        ("other.test. 300 A 198.51.100.7", codes.PASS),
        ("test. 300 NS ns.first.test.", codes.PASS),
        ("first.test. 300 NSEC second.test. A", codes.PASS),
        ("first.test. 300 SOA ns.test. who.test. 1 2 3 4 5", codes.PASS),
    ],
)
def test_authority_leads_nobody_to_a_listed_address(authority: str, verdict: int) -> None:
    octets = bytearray(reply_of(query("open.test"), ["open.test." + A], [authority]).to_wire())
    recheck = Recheck()
    assert recheck.judge(generation(1, LISTS), octets, codes.ALL_LISTS) == Judged(verdict, verdict)
