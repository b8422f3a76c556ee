"""Verdicts on replies: by all lists, which the cache keeps, and by those that judge the client."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import dns.edns
import dns.message
import pytest

from resolver.core import codes
from tests.unit.core.generations import entries, generation
from tests.unit.query.parts import query, reply_of

Core = Callable[[str], ModuleType]
LISTS = (("first.test",), ("second.test",))
A = " 300 A 198.51.100.7"
TO = "open.test. 300 CNAME "
CASES = [
    # ANSWER, ADDITIONAL, scope, for all, for the client, whether ADDITIONAL goes
    (["open.test." + A], [], codes.ALL_LISTS, codes.PASS, codes.PASS, False),
    ([TO + "first.test."], [], codes.ALL_LISTS, codes.BLOCK, codes.BLOCK, False),
    ([TO + "first.test."], [], 2, codes.BLOCK, codes.PASS, False),
    ([TO + "first.test."], [], 1, codes.BLOCK, codes.BLOCK, False),
    ([TO + "first.test.", "first.test. 300 CNAME second.test."], [], 2, codes.BLOCK, codes.BLOCK, False),
    ([TO + "first.test."], [], 0, codes.BLOCK, codes.PASS, False),
    (["open.test." + A], ["first.test." + A], codes.ALL_LISTS, codes.PASS, codes.PASS, True),
    (["open.test." + A], ["first.test." + A], 2, codes.PASS, codes.PASS, True),
    ([TO + "first.test."], ["second.test." + A], 2, codes.BLOCK, codes.PASS, True),
    ([TO + "first.test."], ["second.test." + A], 1, codes.BLOCK, codes.BLOCK, False),
]




def in_force(core: Core, number: int = 1) -> Any:
    """Both lists."""
    made = [core("policy").Member(one.words, one.replies, slot=one.slot) for one in listed(core).members]
    return core("policy").Generation(number, bytes(range(16)), made)


def listed(core: Core) -> Any:
    return generation(core, *(entries(*lines) for lines in LISTS))


def judged(core: Core, one: Any, room: Any, scope: int, number: int = 1) -> tuple[int, int]:
    """The verdicts by all lists, and by those of the scope."""
    said = core("judgement").judge(one, room, in_force(core, number), scope)
    return one.for_all, said


def judgement(core: Core, octets: bytes, *, kept: bool = False) -> tuple[Any, Any]:
    """A Judgement of these octets, as of an exchange or as of what is kept, and the room to make it."""
    module = core("judgement")
    if not kept:
        return module.Judgement(octets), module.Room()
    one = module.Judgement()
    module.fill(one, b"before" + octets, 6, 6 + len(octets))
    return one, module.Room()


def octets_of(one: Any) -> bytes:
    """The reply as it may be given."""
    return bytes(one.message.data[one.message.start : one.message.end])


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("answer", "additional", "scope", "for_all", "for_client", "gone"), CASES)
def test_verdicts_by_all_lists_and_by_the_clients(
    core: Core,
    answer: list[str],
    additional: list[str],
    scope: int,
    for_all: int,
    for_client: int,
    gone: bool,
    kept: bool,
) -> None:
    octets = reply_of(query("open.test"), answer, (), additional).to_wire()
    one, room = judgement(core, octets, kept=kept)
    assert judged(core, one, room, scope) == (for_all, for_client)
    assert bool(one.message.drop_additional) == gone
    trimmed = dns.message.from_wire(octets_of(one))
    assert trimmed.edns == -1, "OPT is hop by hop"
    assert len(trimmed.answer) == len(answer)
    if for_client == codes.PASS:
        assert len(trimmed.additional) == (0 if gone else len(additional))
    assert room.errors == 0


def slot_of(one: Any) -> int:
    """The list that answers the client."""
    verdict = one.verdict if one.chosen < 0 else one.held[one.chosen]
    return int(verdict.slot)


@pytest.mark.parametrize("kept", [False, True])
def test_the_verdict_tells_which_list_answers(core: Core, kept: bool) -> None:
    octets = reply_of(query("open.test"), [TO + "first.test.", "first.test. 300 CNAME second.test."]).to_wire()
    one, room = judgement(core, octets, kept=kept)
    for scope, slot in ((2, 1), (codes.ALL_LISTS, 0), (1, 0), (2, 1), (codes.ALL_LISTS, 0)):
        assert judged(core, one, room, scope) == (codes.BLOCK, codes.BLOCK)
        assert slot_of(one) == slot


def test_a_reply_that_ends_too_early_asks_and_what_comes_after_its_end_goes(core: Core) -> None:
    octets = reply_of(query("open.test", edns=False), ["open.test." + A, "open.test." + A[:-1] + "8"]).to_wire()
    for count in range(1, 60):
        assert judged(core, *judgement(core, octets[:-count]), codes.ALL_LISTS) == (codes.ASK, codes.ASK)
        more, room = judgement(core, octets + b"\0" * count)
        assert judged(core, more, room, codes.ALL_LISTS) == (codes.PASS, codes.PASS)
        assert octets_of(more) == octets


@pytest.mark.parametrize("scope", [0, 1, codes.ALL_LISTS])
def test_more_names_than_an_honest_reply_has_asks_whoever_it_is_for(core: Core, scope: int) -> None:
    made = reply_of(query("open.test"), [], [f"n{n}.{'a.' * 100}test. 300 A 198.51.100.7" for n in range(900)])
    one, room = judgement(core, made.to_wire(max_size=65535))
    assert judged(core, one, room, scope) == (codes.ASK, codes.ASK)
    assert room.errors == 0, "who sent it is at fault, not we"


def test_what_nobody_asked_for_goes_and_what_opt_said_stays(core: Core) -> None:
    made = reply_of(query("open.test"), ["open.test." + A, "other.test." + A], (), ["glue.test." + A])
    made.use_edns(0, options=[dns.edns.EDEOption(9, "kept")])
    octets = bytearray(made.to_wire())
    octets[3] |= 5
    one, room = judgement(core, bytes(octets))
    assert judged(core, one, room, codes.ALL_LISTS) == (codes.PASS, codes.PASS)
    read = dns.message.from_wire(octets_of(one))
    assert [str(rrset.name) for rrset in read.answer] == ["open.test."]
    assert (read.additional, read.edns, one.message.rcode) == ([], -1, 5)
    assert bytes(one.message.errors[: one.message.errors_size]) == b"\0\x0f\0\6\0\x09kept"


def test_what_is_spelled_out_may_be_longer_than_what_came(core: Core) -> None:
    """Owners that pointed elsewhere, once a record that nobody asked for has gone."""
    far = "x" * 60 + ".open.test."
    addresses = [f"{far} 300 A 198.51.100.{n}" for n in range(60)]
    made = reply_of(query("open.test"), ["other.test." + A, TO + far, *addresses])
    octets = made.to_wire()
    one, room = judgement(core, octets)
    assert judged(core, one, room, codes.ALL_LISTS) == (codes.PASS, codes.PASS)
    assert len(octets_of(one)) > len(octets)
    assert [len(rrset) for rrset in dns.message.from_wire(octets_of(one)).answer] == [1, 60]


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
def test_authority_leads_nobody_to_a_listed_address(core: Core, authority: str, verdict: int) -> None:
    octets = reply_of(query("open.test"), ["open.test." + A], [authority]).to_wire()
    assert judged(core, *judgement(core, octets), codes.ALL_LISTS) == (verdict, verdict)


def test_a_reply_is_judged_once_a_generation_and_once_a_scope(core: Core) -> None:
    """What was judged is told by a mark on the verdict, which judging takes away."""
    octets = reply_of(query("open.test"), [TO + "first.test."]).to_wire()
    one, room = judgement(core, octets)
    scopes = ((codes.ALL_LISTS, codes.BLOCK), (2, codes.PASS), (1, codes.BLOCK))
    for scope, said in scopes:
        assert judged(core, one, room, scope) == (codes.BLOCK, said)
    verdicts = [one.verdict, *one.held[:2]]
    for verdict in verdicts:
        verdict.low = 1
    for _ in range(20):
        for scope, said in scopes:
            assert judged(core, one, room, scope) == (codes.BLOCK, said)
    assert [verdict.low for verdict in verdicts] == [1, 1, 1]
    for scope, said in scopes:
        assert judged(core, one, room, scope, 2) == (codes.BLOCK, said)
    assert verdicts[0].low != 1, "another generation judges it again"
    assert verdicts[2].low != 1


def test_of_many_scopes_the_oldest_is_judged_again(core: Core) -> None:
    octets = reply_of(query("open.test"), [TO + "first.test."]).to_wire()
    one, room = judgement(core, octets)
    for _ in range(3):
        for scope in range(2 * core("judgement").SCOPES):
            assert judged(core, one, room, scope) == (codes.BLOCK, codes.BLOCK if scope & 1 else codes.PASS)


def test_a_judgement_is_used_again_for_a_longer_reply(core: Core) -> None:
    short = reply_of(query("open.test"), ["open.test." + A]).to_wire()
    longer = reply_of(query("open.test"), [TO + "first.test.", "first.test." + A]).to_wire()
    one, room = judgement(core, short)
    assert judged(core, one, room, codes.ALL_LISTS) == (codes.PASS, codes.PASS)
    one.again(longer)
    assert judged(core, one, room, codes.ALL_LISTS) == (codes.BLOCK, codes.BLOCK)
    assert len(dns.message.from_wire(octets_of(one)).answer) == 2
