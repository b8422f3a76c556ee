"""Who is blocked: the semantics of lists as a table, replies record by record, and errors that ask."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from resolver.core import codes
from tests.unit.core.generations import KEY, entries, generation, image, member, name, query, question, replies, wire

Core = Callable[[str], ModuleType]
ALL = 0xFFFF
PASS, BLOCK, ASK = codes.PASS, codes.BLOCK, codes.ASK
LISTED = entries("sub.test", "=exact.test", "*below.test", "!fine.sub.test", "deep.fine.sub.test") | entries(
    "!=only.sub.test", "=bad.only.sub.test"
)


def judged(core: Core, in_force: Any, asked: str | bytes, scope: int = ALL) -> Any:
    verdict = core("policy").Verdict()
    octets = wire(asked) if isinstance(asked, str) else asked
    said = core("policy").decide(in_force, name(core, octets), scope, verdict)
    assert said == verdict.verdict
    return verdict


@pytest.mark.parametrize(
    ("asked", "said", "depth"),
    [
        ("sub.test", BLOCK, 2),
        ("a.sub.test", BLOCK, 2),
        ("a.b.c.d.e.sub.test", BLOCK, 2),
        ("SuB.TeSt", BLOCK, 2),
        ("xsub.test", PASS, 0),
        ("test", PASS, 0),
        ("", PASS, 0),
        ("exact.test", BLOCK, 2),
        ("a.exact.test", PASS, 0),
        ("below.test", PASS, 0),
        ("a.below.test", BLOCK, 2),
        ("fine.sub.test", PASS, 0),
        ("a.fine.sub.test", PASS, 0),
        ("deep.fine.sub.test", BLOCK, 4),
        ("a.deep.fine.sub.test", BLOCK, 4),
        ("only.sub.test", PASS, 0),
        ("a.only.sub.test", BLOCK, 2),
        ("bad.only.sub.test", BLOCK, 4),
        # A service on another port of the same host (RFC 9460 9.1).
        ("_443._https.exact.test", BLOCK, 2),
        ("_8443._HTTPS.exact.test", BLOCK, 2),
        ("_443._https.a.exact.test", PASS, 0),
        ("_443._tcp.exact.test", PASS, 0),
        ("a._443._https.exact.test", PASS, 0),
        ("_443._https.fine.sub.test", PASS, 0),
        ("_443._https.only.sub.test", PASS, 0),
        ("_443._https.below.test", BLOCK, 2),
    ],
)
def test_the_most_specific_entry_of_a_list_wins(core: Core, asked: str, said: int, depth: int) -> None:
    verdict = judged(core, generation(core, LISTED), asked)
    assert (verdict.verdict, verdict.depth, verdict.errors) == (said, depth, 0)
    assert verdict.slot == (0 if said == BLOCK else -1)


def test_the_prefix_of_a_service_is_a_name_of_its_own(core: Core) -> None:
    in_force = generation(core, entries("=_https.own.test", "=_443._https.port.test"))
    assert judged(core, in_force, "_443._https.own.test").verdict == PASS
    assert judged(core, in_force, "_443._https.port.test").verdict == BLOCK
    assert judged(core, in_force, "_https.own.test").verdict == BLOCK


def test_a_dot_inside_a_label_is_another_name(core: Core) -> None:
    in_force = generation(core, entries("sub.test"))
    assert judged(core, in_force, b"\x08sub.test\0").verdict == PASS
    assert judged(core, in_force, b"\3a.b\3sub\4test\0").verdict == BLOCK


def test_a_verdict_tells_the_entry(core: Core) -> None:
    verdict = judged(core, generation(core, LISTED), "a.sub.test")
    assert (verdict.low, verdict.high) == core("siphash").digest_of(KEY, wire("sub.test"))
    assert verdict.bits == 3 | codes.EXCEPTION_BELOW


@pytest.mark.parametrize(
    ("lists", "asked", "slot", "depth"),
    [
        # An exception ends only its own list's say.
        ((("!a.test",), ("a.test",)), "a.test", 1, 2),
        ((("a.test",), ("!a.test",)), "a.test", 0, 2),
        ((("a.test", "!b.a.test"), ("!a.test",)), "b.a.test", -1, 0),
        # The most specific entry picks the answer, then the configured order.
        ((("test",), ("b.a.test",), ("a.test",)), "b.a.test", 1, 3),
        ((("a.test",), ("a.test",)), "a.test", 0, 2),
        ((("b.test",), ("a.test",), ("a.test",)), "x.a.test", 1, 2),
        ((("a.test",), ("=x.a.test",)), "x.a.test", 1, 3),
        ((("b.test",), ("c.test",)), "a.test", -1, 0),
        ((), "a.test", -1, 0),
    ],
)
def test_several_lists(core: Core, lists: tuple[tuple[str, ...], ...], asked: str, slot: int, depth: int) -> None:
    verdict = judged(core, generation(core, *(entries(*one) for one in lists)), asked)
    assert (verdict.slot, verdict.depth) == (slot, depth)
    assert verdict.verdict == (PASS if slot < 0 else BLOCK)


@pytest.mark.parametrize("release_first", [True, False])
def test_a_release_ends_the_say_of_all(core: Core, release_first: bool) -> None:
    lists = [entries("test", "a.test"), entries("=b.a.test")]
    released = member(core, entries("!a.test", "x.test"), 5, release=True)
    members = [member(core, one, slot) for slot, one in enumerate(lists)]
    members.insert(0 if release_first else 2, released)
    in_force = core("policy").Generation(1, KEY, members)
    assert judged(core, in_force, "b.a.test").verdict == PASS
    assert judged(core, in_force, "b.a.test").released
    other = judged(core, in_force, "c.test")
    assert (other.verdict, other.released, other.slot) == (BLOCK, False, 0)


@pytest.mark.parametrize(
    ("bits", "options", "said"),
    [
        (codes.SET_ASIDE, {}, PASS),
        (codes.SET_ASIDE, {"approved": True}, BLOCK),
        (codes.NEW, {}, BLOCK),
        (codes.NEW | codes.SET_ASIDE, {"approved": True}, BLOCK),
        (codes.NEW | codes.SET_ASIDE, {}, PASS),
        (codes.IN_USE | codes.SET_ASIDE, {}, PASS),
        (codes.IN_USE | codes.SET_ASIDE, {"approved": True}, BLOCK),
    ],
)
def test_entries_that_wait_have_no_say(core: Core, bits: int, options: dict[str, bool], said: int) -> None:
    in_force = generation(core, {"a.test": 3 | bits}, **options)
    assert judged(core, in_force, "x.a.test").verdict == said
    # What stands above them has.
    in_force = generation(core, {"a.test": 3 | bits, "test": 12}, **options)
    assert judged(core, in_force, "x.a.test").verdict == said


def test_an_exception_counts_though_the_block_of_its_name_is_set_aside(core: Core) -> None:
    for options, depth in (({}, 1), ({"approved": True}, 2)):
        both = codes.BLOCK_BELOW | codes.EXCEPT_SELF | codes.SET_ASIDE
        in_force = generation(core, {"a.test": both, "test": 3}, **options)
        assert judged(core, in_force, "a.test").verdict == PASS
        # Without approval the entry above has the say of what is below.
        verdict = judged(core, in_force, "x.a.test")
        assert (verdict.verdict, verdict.depth) == (BLOCK, depth)


def test_only_the_lists_of_the_scope_are_asked(core: Core) -> None:
    in_force = generation(core, entries("a.test"), entries("a.test"))
    for scope, slot in ((1, 0), (2, 1), (3, 0), (0, -1), (4, -1)):
        assert judged(core, in_force, "a.test", scope).slot == slot


def test_sixteen_lists(core: Core) -> None:
    in_force = generation(core, *(entries(f"l{number}.test") for number in range(codes.MAX_LISTS)))
    for number in range(codes.MAX_LISTS):
        assert judged(core, in_force, f"a.l{number}.test").slot == number
        assert judged(core, in_force, f"a.l{number}.test", ALL ^ 1 << number).verdict == PASS


@pytest.mark.parametrize("scope", [1 << slot for slot in range(codes.MAX_LISTS)])
def test_a_release_is_for_the_clients_of_every_list(core: Core, scope: int) -> None:
    lists = [member(core, entries("a.test"), slot) for slot in range(codes.MAX_LISTS)]
    assert judged(core, core("policy").Generation(1, KEY, lists), "a.test", scope).verdict == BLOCK
    released = member(core, entries("!a.test"), -1, release=True)
    in_force = core("policy").Generation(1, KEY, [*lists, released])
    assert judged(core, in_force, "a.test", scope).verdict == PASS


CHAIN = entries(
    "all.test", "=own.test", "*below.test", "holed.test", "!a.b.holed.test", "mixed.test", "!=mixed.test"
) | {"half.test": codes.BLOCK_SELF | codes.EXCEPT_BELOW}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        # An entry that blocks all below it blocks its validator's chain too.
        ("all.test", BLOCK),
        ("x.all.test", BLOCK),
        ("x.below.test", BLOCK),
        # Below the others is a name that somebody has to be able to validate.
        ("own.test", PASS),
        ("x.own.test", PASS),
        ("_443._https.own.test", PASS),
        ("below.test", PASS),
        ("holed.test", PASS),
        ("b.holed.test", PASS),
        ("a.b.holed.test", PASS),
        ("x.a.b.holed.test", PASS),
        ("c.holed.test", PASS),
        ("mixed.test", PASS),
        ("half.test", PASS),
        ("open.test", PASS),
    ],
)
def test_ds_and_dnskey_pass_unless_all_below_is_blocked(core: Core, asked: str, said: int) -> None:
    in_force = generation(core, CHAIN)
    policy, verdict, octets = core("policy"), core("policy").Verdict(), wire(asked)
    for kind in (codes.TYPE_DS, codes.TYPE_DNSKEY):
        assert policy.decide(in_force, name(core, octets), ALL, verdict, kind) == said, kind
        assert (verdict.errors, verdict.slot) == (0, 0 if said == BLOCK else -1)
    plain = policy.decide(in_force, name(core, octets), ALL, verdict)
    for kind in (codes.TYPE_NS, codes.TYPE_SOA, codes.TYPE_RRSIG, codes.TYPE_ANY, 47, 50, 59, 60, 0x10000 + 43):
        assert policy.decide(in_force, name(core, octets), ALL, verdict, kind) == plain, kind


def test_the_exception_of_one_list_opens_no_chain_in_another(core: Core) -> None:
    policy, verdict = core("policy"), core("policy").Verdict()
    in_force = generation(core, entries("a.test", "!b.a.test"), entries("a.test"))
    for scope, said in ((1, PASS), (2, BLOCK), (3, BLOCK)):
        assert policy.decide(in_force, name(core, wire("a.test")), scope, verdict, codes.TYPE_DS) == said


def test_while_a_name_is_released_every_chain_passes(core: Core) -> None:
    policy, verdict = core("policy"), core("policy").Verdict()
    released = member(core, entries("!www.deep.all.test"), -1, release=True)
    in_force = policy.Generation(1, KEY, [member(core, CHAIN), released])
    for asked in ("all.test", "deep.all.test", "x.all.test"):
        assert policy.decide(in_force, name(core, wire(asked)), ALL, verdict, codes.TYPE_DS) == PASS
        assert policy.decide(in_force, name(core, wire(asked)), ALL, verdict) == BLOCK
    # Errors still ask.
    cut = policy.Member(core("image").view(image(core, CHAIN))[:-2], replies(core), slot=0)
    in_force = policy.Generation(1, KEY, [cut, released])
    assert policy.decide(in_force, name(core, wire("all.test")), ALL, verdict, codes.TYPE_DS) == ASK


def test_an_error_asks_and_is_counted(core: Core) -> None:
    words = core("image").view(image(core, LISTED))
    cut = core("policy").Member(words[:-2], replies(core), slot=0)
    in_force = core("policy").Generation(1, KEY, [cut])
    verdict = judged(core, in_force, "sub.test")
    assert (verdict.verdict, verdict.errors) == (ASK, 1)
    # Where another list blocks an error still asks: nobody knows what the cut one says.
    both = core("policy").Generation(1, KEY, [member(core, LISTED), cut])
    assert judged(core, both, "sub.test").verdict == ASK
    assert judged(core, both, "x.invalid").verdict == ASK or not in_force.mask_low & 4


def test_an_error_that_is_raised_asks_and_is_counted(core: Core) -> None:
    """With half a key no suffix can be digested."""
    in_force, verdict = core("policy").Generation(1, KEY[:8], [member(core, LISTED)]), core("policy").Verdict()
    for errors in (1, 2):
        assert core("policy").decide(in_force, name(core, wire("sub.test")), ALL, verdict) == ASK
        assert (verdict.verdict, verdict.errors) == (ASK, errors)
    with pytest.raises(IndexError):
        core("policy").prepare(in_force, name(core, wire("sub.test")))


def test_a_list_without_replies_blocks_and_cannot_answer(core: Core) -> None:
    policy = core("policy")
    in_force = policy.Generation(1, KEY, [policy.Member(core("image").view(image(core, LISTED)), None, slot=0)])
    verdict = judged(core, in_force, "sub.test")
    packet = query("sub.test")
    asked = question(core, packet)
    assert verdict.verdict == BLOCK
    assert policy.answer(in_force, verdict, memoryview(bytearray(512)), packet, asked, 512) == 0


def test_a_verdict_forgets_the_name_before(core: Core) -> None:
    in_force, verdict = generation(core, LISTED), core("policy").Verdict()
    core("policy").decide(in_force, name(core, wire("sub.test")), ALL, verdict)
    core("policy").decide(in_force, name(core, wire("other.test")), ALL, verdict)
    assert (verdict.verdict, verdict.slot, verdict.depth, verdict.bits, verdict.errors) == (PASS, -1, 0, 0, 0)


def record(kind: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + kind.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data


def reply(*sections: tuple[bytes, ...]) -> bytearray:
    made = bytearray(query("www.example", flags=0x8180))
    for number, section in enumerate(sections):
        made[6 + 2 * number : 8 + 2 * number] = len(section).to_bytes(2, "big")
        made += b"".join(section)
    return made


def judge(core: Core, octets: bytes) -> tuple[int, bool, int]:
    message, verdict = core("message").Message(), core("policy").Verdict()
    assert core("message").read(octets, len(octets), message) == 1
    said = core("policy").judge(generation(core, LISTED), message, ALL, core("name").Name(), verdict)
    assert said == verdict.verdict
    return said, bool(message.drop_additional), verdict.errors


ADDRESS = record(1, bytes(4))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((), PASS),
        ((ADDRESS,), PASS),
        ((record(5, wire("fine.sub.test")),), PASS),
        ((record(5, wire("a.sub.test")),), BLOCK),
        ((record(39, wire("sub.test")),), BLOCK),
        ((record(65, b"\0\0" + wire("sub.test")),), BLOCK),
        ((record(64, b"\0\1" + wire("sub.test") + b"\0\1\0\3\2h2"),), BLOCK),
        ((record(65, b"\0\1\0"),), PASS),
        ((record(15, b"\0\1" + wire("sub.test")),), PASS),
        ((record(2, wire("sub.test")),), PASS),
        # What spells a name and is none.
        ((record(99, wire("sub.test")), record(0xFF00, wire("sub.test"))), PASS),
        ((ADDRESS, record(1, bytes(4), wire("sub.test"))), BLOCK),
        ((ADDRESS, record(5, wire("sub.test"), wire("off.example"))), BLOCK),
        ((record(46, bytes(30), wire("sub.test")),), BLOCK),
        ((record(5, b"\xc0\x0c"), record(5, wire("sub.test"))), BLOCK),
        ((record(1, bytes(4), b"\2zz\xc0\x10"), record(1, bytes(4), b"\1a" + wire("sub.test"))), BLOCK),
    ],
)
def test_every_owner_and_target_of_answer_is_judged(core: Core, answer: tuple[bytes, ...], said: int) -> None:
    assert judge(core, reply(answer)) == (said, False, 0)


@pytest.mark.parametrize(
    ("authority", "said"),
    [
        (record(2, wire("sub.test"), wire("sub.test")), PASS),
        (record(6, wire("sub.test") * 2 + bytes(20), wire("sub.test")), PASS),
        (record(46, bytes(30), wire("sub.test")), PASS),
        (record(1, bytes(4), wire("sub.test")), BLOCK),
        (record(28, bytes(16), wire("a.sub.test")), BLOCK),
        (record(5, wire("ok.example"), wire("sub.test")), BLOCK),
        (record(5, wire("sub.test"), wire("ok.example")), BLOCK),
        (record(65, b"\0\0" + wire("sub.test"), wire("ok.example")), BLOCK),
        (record(39, wire("sub.test"), wire("ok.example")), BLOCK),
    ],
)
def test_of_authority_only_what_leads_to_an_address_is_judged(core: Core, authority: bytes, said: int) -> None:
    assert judge(core, reply((), (authority,))) == (said, False, 0)
    assert judge(core, reply((ADDRESS,), (record(2, wire("ns.example")), authority))) == (said, False, 0)


DS = b"\x12\x34\x0d\2" + bytes(32)
KEY_DATA = b"\1\1\3\x0d" + bytes(64)
OWN = wire("own.test")


def signature(covered: int) -> bytes:
    return covered.to_bytes(2, "big") + b"\x0d\2" + bytes(14) + wire("test") + bytes(64)


@pytest.mark.parametrize(
    ("asked", "answer", "said"),
    [
        (43, (record(43, DS), record(46, signature(43))), PASS),
        (48, (record(48, KEY_DATA), record(48, KEY_DATA), record(46, signature(48))), PASS),
        (43, (record(43, DS, OWN), record(46, signature(43), OWN)), PASS),
        (43, (), PASS),
        # Only a question for them has such an answer.
        (1, (record(43, DS),), BLOCK),
        (46, (record(46, signature(43)),), BLOCK),
        (255, (record(43, DS),), BLOCK),
        # Whatever leads to an address, or signs it, is judged as ever.
        (43, (record(1, bytes(4)),), BLOCK),
        (43, (record(43, DS), record(1, bytes(4))), BLOCK),
        (43, (record(43, DS), record(46, signature(1))), BLOCK),
        (48, (record(28, bytes(16)),), BLOCK),
        (43, (record(5, wire("open.test")),), BLOCK),
        (43, (record(39, wire("open.test")),), BLOCK),
        (43, (record(65, b"\0\1\0"),), BLOCK),
        (43, (record(6, wire("test") * 2 + bytes(20)),), BLOCK),
        (43, (record(5, wire("all.test"), wire("open.test")),), BLOCK),
        # One list may block all below the same name.
        (43, (record(43, DS, wire("all.test")),), BLOCK),
    ],
)
def test_the_reply_to_ds_or_dnskey_may_hold_these_and_no_way_to_an_address(
    core: Core, asked: int, answer: tuple[bytes, ...], said: int
) -> None:
    octets = bytearray(query("own.test", asked, flags=0x8180)) + b"".join(answer)
    octets[7] = len(answer)
    message, verdict = core("message").Message(), core("policy").Verdict()
    assert core("message").read(octets, len(octets), message) == 1
    assert core("policy").judge(generation(core, CHAIN), message, ALL, core("name").Name(), verdict) == said
    assert verdict.errors == 0


@pytest.mark.parametrize(
    ("additional", "dropped"),
    [
        ((record(1, bytes(4), wire("ns.example")),), False),
        ((record(1, bytes(4), wire("sub.test")),), True),
        ((record(1, bytes(4), wire("ns.example")), record(28, bytes(16), wire("sub.test"))), True),
        ((record(5, wire("sub.test"), wire("ns.example")),), False),
    ],
)
def test_a_blocked_owner_in_additional_drops_the_section(
    core: Core, additional: tuple[bytes, ...], dropped: bool
) -> None:
    assert judge(core, reply((ADDRESS,), (), additional)) == (PASS, dropped, 0)


def names(number: int, form: str = "n{}.a.example") -> tuple[bytes, ...]:
    return tuple(record(1, bytes(4), wire(form.format(one))) for one in range(number))


def test_the_octets_that_are_digested_for_a_reply_are_bounded(core: Core) -> None:
    assert judge(core, reply(names(500))) == (PASS, False, 0)
    assert judge(core, reply(names(3000))) == (ASK, False, 0)
    assert judge(core, reply((), names(3000))) == (ASK, False, 0)
    # A listed name is found before the bound is.
    assert judge(core, reply((*names(500), record(1, bytes(4), wire("sub.test")), *names(3000))))[0] == BLOCK


def test_past_the_bound_additional_goes_and_the_answer_stays(core: Core) -> None:
    assert judge(core, reply((ADDRESS,), (), names(500))) == (PASS, False, 0)
    assert judge(core, reply((ADDRESS,), (), names(3000))) == (PASS, True, 0)
    # Listed or not: nobody has looked.
    assert judge(core, reply((ADDRESS,), (), (*names(3000), record(1, bytes(4), wire("sub.test"))))) == (PASS, True, 0)
    assert judge(core, reply((ADDRESS,), (), (*names(100), record(1, bytes(4), wire("sub.test"))))) == (PASS, True, 0)


def judged_octets(core: Core, *answer: bytes) -> int:
    message, octets = core("message").Message(), reply(answer)
    assert core("message").read(octets, len(octets), message) == 1
    policy = core("policy")
    assert policy.judge(generation(core, LISTED), message, ALL, core("name").Name(), policy.Verdict()) == PASS
    return int(message.judged)


def test_the_octets_of_a_name_are_those_of_each_suffix_that_is_digested(core: Core) -> None:
    """LISTED has entries of 2, 3 and 4 labels; a digest costs 24 octets more than it covers."""
    assert judged_octets(core, ADDRESS) == 13 + (13 + 24)
    one = wire("a.b.c.d.example")
    assert judged_octets(core, record(1, bytes(4), one)) == 13 + (13 + 24) + 17 + (11 + 13 + 15 + 3 * 24)


def test_equal_names_are_judged_once(core: Core) -> None:
    spelled = record(1, bytes(4), b"\3WwW\7eXample\0")
    elsewhere = record(1, bytes(4), b"\4else\7example\0")
    once = judged_octets(core, ADDRESS)
    # The question's name at its place; octet for octet, whatever the letters; a place that a pointer leads back to.
    assert judged_octets(core, *[ADDRESS] * 3000) == once
    assert judged_octets(core, *[spelled] * 100) == once + 100 * len(wire("www.example"))
    two = judged_octets(core, ADDRESS, elsewhere)
    there = record(1, bytes(4), (0xC000 | len(reply((ADDRESS,)))).to_bytes(2, "big"))
    assert judged_octets(core, ADDRESS, elsewhere, *[there] * 9) == two
    assert two > once + len(wire("else.example"))


def test_what_was_judged_in_one_reply_is_judged_again_in_the_next(core: Core) -> None:
    """The same message, the same places, other names there."""
    message, policy = core("message").Message(), core("policy")
    verdict, in_force = policy.Verdict(), generation(core, LISTED)
    for owner, said in (("ok.test", PASS), ("sub.test", BLOCK), ("oks.test", PASS), ("sub.test", BLOCK)):
        octets = reply((record(1, bytes(4), wire(owner)),))
        assert core("message").read(octets, len(octets), message) == 1
        assert policy.judge(in_force, message, ALL, core("name").Name(), verdict) == said, owner
    # By other lists, too, without a new reading.
    assert policy.judge(generation(core, entries("other.test")), message, ALL, core("name").Name(), verdict) == PASS
    assert policy.judge(in_force, message, ALL, core("name").Name(), verdict) == BLOCK


@pytest.mark.parametrize("section", range(3))
def test_a_reply_judged_by_a_damaged_image_asks(core: Core, section: int) -> None:
    """Whatever the record is: the question's name is judged first."""
    policy, message = core("policy"), core("message").Message()
    cut = policy.Member(core("image").view(image(core, entries("a.b.example")))[:-2], replies(core), slot=0)
    in_force, verdict = policy.Generation(1, KEY, [cut]), policy.Verdict()
    sections: list[tuple[bytes, ...]] = [(), (), ()]
    sections[section] = (record(1, bytes(4), wire("x.a.b.example")),)
    octets = reply(*sections)
    assert core("message").read(octets, len(octets), message) == 1
    assert policy.judge(in_force, message, ALL, core("name").Name(), verdict) == ASK
    assert (verdict.verdict, verdict.errors) == (ASK, 1)


def test_a_reply_that_ends_before_its_records_do_asks_and_is_no_error(core: Core) -> None:
    """Wherever it ends: in an owner, in a pointer, in a target, in what stands between them."""
    policy, in_force = core("policy"), generation(core, LISTED)
    answers = (record(5, b"\3off\xc0\x10"), record(65, b"\0\1\xc0\x0c"), ADDRESS)
    authority = (record(1, bytes(4), wire("ns.example")), record(5, wire("a.example")))
    octets = reply(answers, authority, (record(28, bytes(16), wire("ns.example")),))
    message, verdict = core("message").Message(), policy.Verdict()
    seen = set()
    for end in range(len(octets) + 1):
        assert core("message").read(octets, len(octets), message) == 1
        message.data, message.end = octets[:end], end
        said = policy.judge(in_force, message, ALL, core("name").Name(), verdict)
        seen.add((said, bool(message.drop_additional)))
        assert (said == ASK) == (end < message.additional_start), end
        assert message.drop_additional == (message.additional_start <= end < len(octets)), end
        assert (verdict.verdict, verdict.errors) == (said, 0)
    assert seen == {(ASK, False), (PASS, True), (PASS, False)}


@pytest.mark.parametrize("bit", range(8, 14))
def test_a_name_that_a_pointer_leads_to_is_not_taken_for_one_nearer_to_the_start(core: Core, bit: int) -> None:
    """The question's name is judged at 12; the listed one stands where a single bit of the pointer differs."""
    made = reply(())
    place = 12 + (1 << bit)
    opaque = bytes(place - len(made) - len(record(0xFF00, b""))) + wire("sub.test")
    made[7] = 2
    made += record(0xFF00, opaque) + record(5, (0xC000 | place).to_bytes(2, "big"))
    assert made[place:].startswith(wire("sub.test"))
    assert judge(core, made) == (BLOCK, False, 0)


def test_an_error_without_a_question_passes(core: Core) -> None:
    assert judge(core, bytes.fromhex("123481820000000000000000")) == (PASS, False, 0)


def test_before_it_judges_a_verdict_asks_and_names_no_entry(core: Core) -> None:
    verdict = core("policy").Verdict()
    assert (verdict.verdict, verdict.slot, verdict.depth, verdict.bits, verdict.errors) == (ASK, -1, 0, 0, 0)
    assert (verdict.low, verdict.high, verdict.released, verdict.chain) == (0, 0, 0, 0)


@pytest.mark.parametrize("depth", [2, 62, 63, 64, 65, 70, 127])
def test_entries_of_every_depth_are_found(core: Core, depth: int) -> None:
    octets = b"\1a" * (depth - 1) + b"\1z\0"
    flags = (codes.BLOCK_SELF | codes.BLOCK_BELOW).to_bytes(2, "little")
    made = core("entries").write(
        octets, flags, KEY, list_id="one", serial=1, issued=5, expires=6, generation=7, selftest=b"s" * 26
    )
    in_force = policy_of(core, bytes(made))
    for asked, said in ((octets, depth), (b"\1b" + octets[2:], 0), (octets[2:], 0), (b"\1b" + octets, depth)):
        if len(asked) <= 255:
            verdict = judged(core, in_force, asked)
            assert (verdict.verdict, verdict.depth) == (BLOCK if said else PASS, said), len(asked)


@pytest.mark.parametrize(("records", "said"), [(250, PASS), (260, ASK)])
def test_the_same_name_spelled_out_again_and_again_is_work_too(core: Core, records: int, said: int) -> None:
    octets = reply((record(1, bytes(4), b"\1b" * 127 + b"\0"),) * records)
    assert judge(core, octets) == (said, False, 0)


@pytest.mark.parametrize("owner", [b"\xc0\x1d", b"\xff\xff", b"\xc0\x00", b"\xc0\x0b"])
def test_a_name_that_cannot_be_read_asks_and_is_no_error(core: Core, owner: bytes) -> None:
    """What core.message reads has none; here the pointer is changed after it was read, to itself and beyond."""
    octets = reply((ADDRESS,))
    message, verdict = core("message").Message(), core("policy").Verdict()
    assert core("message").read(octets, len(octets), message) == 1
    assert octets.index(b"\xc0\x0c") == message.answer_start == 0x1D
    octets[message.answer_start : message.answer_start + 2] = owner
    said = core("policy").judge(generation(core, LISTED), message, ALL, core("name").Name(), verdict)
    assert (said, verdict.verdict, verdict.errors) == (ASK, ASK, 0)


@pytest.mark.parametrize("depth", [4, 62, 63, 64, 65, 126, 127])
def test_the_work_is_the_octets_of_the_suffixes_that_are_digested(core: Core, depth: int) -> None:
    made = core("entries").write(
        b"\1a" * depth + b"\0", b"\3\0", KEY, list_id="one", serial=1, issued=5, expires=6, generation=7,
        selftest=b"s" * 26,
    )  # fmt: skip
    octets = reply((record(1, bytes(4), b"\1b" * 127 + b"\0"),))
    message, verdict = core("message").Message(), core("policy").Verdict()
    assert core("message").read(octets, len(octets), message) == 1
    assert core("policy").judge(policy_of(core, bytes(made)), message, ALL, core("name").Name(), verdict) == PASS
    # The question has two labels and no suffix of a depth that occurs: that of the entry, and 3 of the synthetic name.
    each = 24
    assert message.judged == len(wire("www.example")) + 255 + (2 * depth + 1 + each) + (2 * 3 + 1 + each)


def policy_of(core: Core, made: bytes) -> Any:
    policy = core("policy")
    return policy.Generation(1, KEY, [policy.Member(core("image").view(made), replies(core), slot=0)])


def test_the_reply_is_that_of_the_list_that_blocked(core: Core) -> None:
    policy, packet = core("policy"), query("a.test")
    members = []
    for slot, one in enumerate(("b.test", "a.test", "a.test")):
        words = core("image").view(image(core, entries(one)))
        members.append(policy.Member(words, replies(core, v4=(bytes([192, 0, 2, slot]),)), slot=slot))
    in_force, verdict, out = policy.Generation(1, KEY, members), policy.Verdict(), bytearray(512)
    asked = question(core, packet)
    assert policy.decide(in_force, asked.name, ALL, verdict) == BLOCK
    length = policy.answer(in_force, verdict, out, packet, asked, 512)
    assert bytes(out[length - 4 : length]) == bytes([192, 0, 2, 1])


def test_without_a_block_or_room_there_is_no_reply(core: Core) -> None:
    policy, packet = core("policy"), query("a.test")
    in_force, verdict, asked = generation(core, entries("a.test")), policy.Verdict(), question(core, packet)
    assert policy.answer(in_force, verdict, bytearray(512), packet, asked, 512) == 0
    assert policy.decide(in_force, asked.name, ALL, verdict) == BLOCK
    assert policy.answer(in_force, verdict, memoryview(bytearray(20)), packet, asked, 512) == 0
    assert policy.answer(policy.Generation(1, KEY, []), verdict, bytearray(512), packet, asked, 512) == 0
