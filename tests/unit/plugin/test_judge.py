"""Judging for another resolver: what passes, what does not, and what an answer is made of."""

from pathlib import Path

import dns.message
import dns.rrset
import pytest

from resolver.core import codes
from resolver.plugin.blocks import unpacked
from resolver.plugin.folder import Writer, read
from resolver.plugin.judge import Judge, is_synthetic
from tests.unit.plugin.parts import KEY, PAGE, tables
from tests.unit.query.parts import CLIENT, EXEMPT, octets_of

SYNTHETIC = octets_of(f"{'s' * 26}.selftest.invalid")


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    one = Judge()
    Writer(tmp_path, KEY).write(tables((["bad.test"],), exempt={0: "192.0.2.99/32"}))
    one.policy = read(tmp_path, KEY, {})
    return one


def reply(*records: str) -> bytes:
    message = dns.message.make_response(dns.message.make_query("www.good.test.", "A"))
    message.answer = [dns.rrset.from_text(*one.split(" ", 4)) for one in records]
    return message.to_wire()


def test_a_question_is_judged_for_the_clients_of_a_list(judge: Judge) -> None:
    bad = octets_of("www.bad.test")
    assert judge.question(octets_of("good.test"), 1, codes.ALL_LISTS) == codes.PASS
    assert judge.question(bad, 1, judge.scope_of(CLIENT)) == codes.BLOCK
    assert judge.question(bad, 1, judge.scope_of(EXEMPT)) == codes.PASS
    assert judge.question(b"\x03bad", 1, codes.ALL_LISTS) == codes.ASK


def test_a_synthetic_name_is_judged_by_every_list(judge: Judge) -> None:
    assert is_synthetic(SYNTHETIC)
    assert not is_synthetic(octets_of("selftest.invalid"))
    assert not is_synthetic(octets_of("a.b.selftest.invalid"))
    assert judge.question(SYNTHETIC, 1, judge.scope_of(EXEMPT)) == codes.BLOCK
    assert judge.block(1, CLIENT, 0) == b"", "it is no query of a visitor"


def test_a_reply_is_judged_whole(judge: Judge) -> None:
    leads = "www.good.test. 60 IN CNAME x.bad.test."
    assert judge.reply(reply("www.good.test. 60 IN A 198.51.100.1"), codes.ALL_LISTS) == codes.PASS
    assert not judge.drops_additional
    assert judge.reply(reply(leads), codes.ALL_LISTS) == codes.BLOCK
    assert judge.reply(reply(leads), judge.scope_of(EXEMPT)) == codes.PASS
    assert judge.reply(reply(leads)[:-1], codes.ALL_LISTS) == codes.ASK


def test_the_answer_is_the_lists(judge: Judge) -> None:
    bad = octets_of("bad.test")
    assert judge.question(bad, 1, codes.ALL_LISTS) == codes.BLOCK
    page = judge.blocked(bad, 1)
    assert page is not None
    assert (page.rcode, [(one.kind, one.ttl_s, one.rdata) for one in page.answers]) == (0, [(1, 60, PAGE)])
    assert (page.authorities, page.errors) == ((), (b"\0\4",))
    nothing = judge.blocked(bad, 65)
    assert nothing is not None
    assert (nothing.answers, [one.kind for one in nothing.authorities]) == ((), [6])
    assert judge.blocked(octets_of("www.bad.test"), 1) is page, "it is made once"


def test_a_block_names_the_entry_and_not_the_name(judge: Judge) -> None:
    assert judge.question(octets_of("www.bad.test"), 28, codes.ALL_LISTS) == codes.BLOCK
    (one,) = unpacked(judge.block(28, CLIENT, 3))
    assert (one.slot, one.qtype, one.client, one.lost) == (0, 28, CLIENT, 3)
    assert (one.slot, bool(one.bits & codes.BLOCK_SELF)) == (judge.slot, True)


def test_without_a_policy_and_with_half_of_one_it_asks(judge: Judge, tmp_path: Path) -> None:
    assert Judge().question(octets_of("good.test"), 1, codes.ALL_LISTS) == codes.ASK
    assert Judge().reply(reply(), codes.ALL_LISTS) == codes.ASK
    assert Judge().blocked(octets_of("bad.test"), 1) is None
    Writer(tmp_path, KEY).write(tables((["bad.test"],), 2, complete=False))
    judge.policy = read(tmp_path, KEY, {})
    assert judge.question(octets_of("good.test"), 1, codes.ALL_LISTS) == codes.ASK
    assert judge.question(octets_of("bad.test"), 1, codes.ALL_LISTS) == codes.BLOCK
