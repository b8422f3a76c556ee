"""The Lua policy: its tables are those of core, and it judges and answers as core does, octet for octet."""

import ipaddress
import itertools
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import dns.edns
import dns.message
import dns.rrset
import pytest
from lupa.luajit21 import LuaError

from resolver.core import codes
from resolver.core.message import Message, read
from resolver.core.name import Name
from resolver.core.policy import Verdict, answer, decide, judge
from resolver.core.question import Question, parse
from resolver.core.reply import MAX_UDP_OCTETS, limit_of
from resolver.plugin import blocks, lua_tables
from resolver.plugin import folder as plugin_folder
from resolver.plugin.folder import Writer
from resolver.query.transport import PADDED_OCTETS
from tests.unit.plugin import lua
from tests.unit.plugin.parts import KEY, published, structured, tables
from tests.unit.query.parts import CLIENT, EXEMPT, octets_of

NAMES = 20_000


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    lua.close_all()


def test_the_file_has_the_tables_of_core() -> None:
    text = lua_tables.PATH.read_text()
    assert lua_tables.replaced(text) == text, "python -m resolver.plugin.lua_tables writes them"
    assert f"SET_ASIDE = {codes.SET_ASIDE}," in lua_tables.tables()


def test_a_file_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        lua_tables.replaced(lua_tables.BEGIN)


@pytest.mark.parametrize("released", [(), (["!www.n1.a.test", "!n5.b.test"],)])
def test_it_judges_names_as_core_does(released: Sequence[Sequence[str]], tmp_path: Path) -> None:
    """A million of them in tests/peers/test_plugin_lua.py."""
    draw = random.Random(11)
    first, second = lua.lines(300, draw), lua.lines(200, draw)
    Writer(tmp_path, KEY).write(tables((first, second), released=released, exempt={0: "192.0.2.99/32"}))
    policy, asked = plugin_folder.read(tmp_path, KEY, {}), lua.questions([*first, *second], NAMES, draw)
    one = lua.Lua(tmp_path)
    expected = lua.by_core(policy, asked)
    assert one.questions(asked) == expected
    assert {codes.PASS, codes.BLOCK} == set(expected[::4])
    assert min(expected[::4].count(said) for said in (codes.PASS, codes.BLOCK)) > NAMES // 10
    assert one.questions(asked, EXEMPT) == lua.by_core(policy, asked, codes.ALL_LISTS & ~1) != expected
    assert one.questions(asked, CLIENT) == expected


def test_the_options_of_a_query_stay_within_their_room_inside_the_recursor(tmp_path: Path) -> None:
    """A client chooses their number and size; over TCP they may fill 65,535 octets, and a reply has as many again."""
    Writer(tmp_path, KEY).write(structured(tables((["bad.test"],)), 65001, b"{}", b"{}"))
    after = lua.in_recursor(tmp_path)
    assert after(60, 3, b"") == (False, 0, 60)
    assert after(60, 3, b"x" * 20_000) == (False, 0, 60), "none of these signals"
    assert after(60, 16_000, b"") == (True, codes.SERVFAIL, 0)
    assert after(500, 3, b"") == (True, codes.SERVFAIL, 0), "a reply that is too long"


def packets() -> list[bytes]:
    """Queries for listed names: types, EDNS of all sizes, flags."""
    found = []
    for name in ("bad.test", "WWW.bad.test", "only.test", "_8080._https.only.test"):
        for kind in ("A", "AAAA", "HTTPS", "TXT", "SOA"):
            for payload in (None, 512, 1232, 4096):
                edns = False if payload is None else 0
                query = dns.message.make_query(name, kind, use_edns=edns, payload=payload or 0)
                query.flags |= 0x10 if kind == "TXT" else 0
                if payload == 4096:
                    query.use_edns(0, dns.flags.DO, payload, options=[dns.edns.GenericOption(65000, b"")])
                found.append(query.to_wire())
    return found


@pytest.mark.parametrize("kind", ["page", "nodata", "nxdomain"])
@pytest.mark.parametrize("tcp", [False, True])
def test_its_answers_are_cores_octet_for_octet(kind: str, tcp: bool, tmp_path: Path) -> None:
    # mypy: a parameter is a str, not one of three.
    Writer(tmp_path, KEY).write(tables((["bad.test", "=only.test", "!ok.bad.test"],), answer=kind))  # type: ignore[arg-type]  # any word of codes
    policy, one = plugin_folder.read(tmp_path, KEY, {}), lua.Lua(tmp_path)
    question, verdict, out = Question(), Verdict(), memoryview(bytearray(65535))
    least, most = (65535, 65535) if tcp else (512, MAX_UDP_OCTETS)
    for packet in packets():
        assert parse(packet, len(packet), question) == codes.WELL_FORMED
        assert decide(policy.generation, question.name, codes.ALL_LISTS, verdict, question.qtype) == codes.BLOCK
        length = answer(policy.generation, verdict, out, packet, question, limit_of(question, least, most))
        assert one.query(packet, tcp, CLIENT) == bytes(out[:length])


def test_what_is_not_listed_goes_on_and_what_is_no_question_does_not(tmp_path: Path) -> None:
    one = lua.Lua(published(tmp_path, ["bad.test"]))
    good = dns.message.make_query("good.test", "A", use_edns=False)
    assert one.query(good.to_wire(), False, CLIENT) is None
    for change, rcode in (
        *(("rd", "REFUSED"), ("class", "REFUSED"), ("short", "FORMERR")),
        *(("AXFR", "REFUSED"), ("opcode", "NOTIMP")),
    ):
        kind, klass = "AXFR" if change == "AXFR" else "A", "CH" if change == "class" else "IN"
        query = dns.message.make_query("good.test", kind, klass, use_edns=False)
        query.flags = {"rd": 0, "opcode": 0x2100}.get(change, 0x100)
        wire = query.to_wire()[: -5 if change == "short" else None]
        said = one.query(wire, False, CLIENT)
        assert dns.rcode.to_text(said[3] & 15) == rcode


def replies() -> list[bytes]:
    """Replies that lead to listed names, and that do not, in each section."""
    found = []
    for answers, authority, additional in (
        (["www.good.test. 60 IN A 198.51.100.1"], [], []),
        (["www.good.test. 60 IN CNAME x.bad.test.", "x.bad.test. 60 IN A 198.51.100.1"], [], []),
        (["www.good.test. 60 IN CNAME fine.test.", "fine.test. 60 IN CNAME BAD.test."], [], []),
        (["www.good.test. 60 IN HTTPS 0 bad.test."], [], []),
        (["www.good.test. 60 IN HTTPS 1 . alpn=h2"], [], []),
        (["www.good.test. 60 IN MX 5 mail.bad.test."], [], ["mail.bad.test. 60 IN A 198.51.100.1"]),
        (["www.good.test. 60 IN MX 5 mail.good.test."], [], ["mail.good.test. 60 IN A 198.51.100.1"]),
        ([], ["good.test. 60 IN NS ns.bad.test."], []),
        ([], ["ns.bad.test. 60 IN A 198.51.100.1"], []),
        (["www.good.test. 60 IN DNAME bad.test."], [], []),
        (["www.good.test. 60 IN DS 1 15 2 " + "ab" * 32, "bad.test. 60 IN DS 1 15 2 " + "ab" * 32], [], []),
    ):
        query = dns.message.make_query("www.good.test.", "DS" if "DS" in "".join(answers) else "A", use_edns=0)
        message = dns.message.make_response(query)
        sections = (message.answer, answers), (message.authority, authority), (message.additional, additional)
        for section, records in sections:
            section.extend(dns.rrset.from_text(*one.split(" ", 4)) for one in records)
        found.append(message.to_wire())
    return found


def test_it_judges_replies_as_core_does(tmp_path: Path) -> None:
    one = lua.Lua(published(tmp_path, ["bad.test", "!ok.bad.test"]))
    policy = plugin_folder.read(tmp_path, KEY, {})
    message, name, verdict, draw, seen = Message(), Name(), Verdict(), random.Random(5), set()
    whole = replies()
    # Damaged ones too: core says ASK of what it cannot read at all, and Lua of what it cannot walk.
    damaged = [wire[: draw.randrange(12, len(wire))] for wire in whole for _ in range(20)]
    for wire in [*whole, *damaged]:
        expected = codes.ASK
        if read(wire, len(wire), message):
            expected = judge(policy.generation, message, codes.ALL_LISTS, name, verdict)
        said, drops = one.judge(wire)
        seen.add((said, drops))
        if wire in whole:
            assert (said, drops) == (expected, bool(message.drop_additional))
        elif expected == codes.ASK:
            assert said in {codes.ASK, codes.BLOCK}, "what is cut never passes"
    assert seen == {(codes.PASS, False), (codes.PASS, True), (codes.BLOCK, False), (codes.ASK, False)}


def test_a_reply_that_leads_to_a_listed_name_is_the_page(tmp_path: Path) -> None:
    one = lua.Lua(published(tmp_path, ["bad.test"]))
    found = [one.reply(wire, False, CLIENT) for wire in replies()]
    assert found[0] is None
    page = dns.message.from_wire(found[1])
    assert [str(each) for each in page.answer] == ["www.good.test. 60 IN A 192.0.2.1"]
    assert [int(each.code) for each in page.options] == [4]
    without = dns.message.from_wire(found[5])
    assert (without.additional, without.edns, len(without.answer)) == ([], 0, 1)


def test_a_client_whose_query_is_known_gets_cores_answer(tmp_path: Path) -> None:
    """A reply that leads to a listed name is answered as a query for one, with the client's own EDNS and size."""
    one = lua.Lua(published(tmp_path, ["bad.test"]))
    query = dns.message.make_query("www.good.test", "A", use_edns=0, payload=4096)
    plain = dns.message.make_query("www.good.test", "A", use_edns=False)
    leads = replies()[1]
    said = dns.message.from_wire(one.reply_to(query.to_wire(), leads, 1232))
    assert (said.id, said.edns, [int(each.code) for each in said.options]) == (query.id, 0, [4])
    assert dns.message.from_wire(one.reply_to(plain.to_wire(), leads, 1232)).edns == -1
    assert one.reply_to(query.to_wire(), replies()[0], 1232) is None


@pytest.mark.parametrize("kind", ["page", "nodata", "nxdomain"])
def test_an_answer_as_a_resolver_writes_it_is_the_same(kind: str, tmp_path: Path) -> None:
    """Response code, records as text and extended error, as the octets have them."""
    # mypy: a parameter is a str, not one of three.
    Writer(tmp_path, KEY).write(tables((["bad.test"],), answer=kind))  # type: ignore[arg-type]  # parametrized
    one = lua.Lua(tmp_path)
    for wanted in ("A", "AAAA", "TXT"):
        packet = dns.message.make_query("bad.test", wanted, use_edns=0).to_wire()
        octets = dns.message.from_wire(one.query(packet, True, CLIENT))
        rcode, lines, code, said = one.written(packet)
        expected = [
            f"{section} {record.rdtype} {record.ttl} {data}"
            for section, records in ((1, octets.answer), (2, octets.authority))
            for record in records
            for data in record
        ]
        (error,) = octets.options
        found = [_plain(line) for line in lines.decode().split("; ")]
        assert (rcode, found) == (octets.rcode(), [_plain(line) for line in expected])
        assert (code, said.decode()) == (int(error.code), error.text or "")


def _plain(line: str) -> str:
    """A record's line with an address in one form."""
    section, kind, ttl, text = line.split(" ", 3)
    return f"{section} {kind} {ttl} {ipaddress.ip_address(text) if kind == '28' else text}"


@pytest.mark.parametrize("payload", [None, 512, 4096])
def test_what_goes_over_an_encrypted_transport_is_padded(payload: int | None, tmp_path: Path) -> None:
    one = lua.Lua(published(tmp_path, ["bad.test"]))
    for name in ("bad.test", f"{'x' * 60}.bad.test"):
        query = dns.message.make_query(name, "A", use_edns=False if payload is None else 0, payload=payload or 0)
        padded = one.padded(query.to_wire())
        reply = dns.message.from_wire(padded)
        plain = dns.message.from_wire(one.query(query.to_wire(), True, CLIENT))
        assert [str(each) for each in reply.answer] == [str(each) for each in plain.answer]
        if payload is None:
            assert reply.edns == -1
        else:
            assert len(padded) % PADDED_OCTETS == 0
            assert [int(each.otype) for each in reply.options] == [15, 12]


@pytest.mark.parametrize(
    ("size", "padded"), [(65_000, 65_052), (65_052, 65_520), (65_100, 65_520), (65_517, 65_535), (65_531, 65_535)]
)
def test_padding_ends_with_the_largest_message(size: int, padded: int, tmp_path: Path) -> None:
    one, head = lua.Lua(published(tmp_path, ["bad.test"])), bytes.fromhex("0001 8180 0000 0001 0000 0001")
    record = bytes.fromhex("00 0010 0001 0000003c") + (size - 12 - 11 - 11).to_bytes(2) + bytes(size - 12 - 11 - 11)
    said = one.pad(head + record + bytes.fromhex("00 0029 04d0 00000000 0000"))
    assert len(said) == padded
    assert int.from_bytes(said[size - 2 : size]) == padded - size, "the options of OPT"


@pytest.mark.parametrize("more", [1, 4])
def test_what_has_no_room_for_padding_stays(more: int, tmp_path: Path) -> None:
    one, size = lua.Lua(published(tmp_path, ["bad.test"])), 65_531 + more
    record = bytes.fromhex("00 0010 0001 0000003c") + (size - 12 - 11 - 11).to_bytes(2) + bytes(size - 12 - 11 - 11)
    answer = bytes.fromhex("0001 8180 0000 0001 0000 0001") + record + bytes.fromhex("00 0029 04d0 00000000 0000")
    assert one.pad(answer) == answer


def test_the_mark_of_a_policy_is_of_its_own_seal(tmp_path: Path) -> None:
    """Answers that the Recursor keeps are found by it."""
    one, marks = lua.Lua(published(tmp_path, ["bad.test"])), set()
    for number in range(2, 5):
        published(tmp_path, ["bad.test"], number=number)
        one.look(True)
        marks.add(one.tag())
        assert one.tag() == int.from_bytes((tmp_path / "policy").read_bytes()[-16:][:4])
    assert len(marks) == 3


@pytest.mark.parametrize("mode", [0o444, 0o640])
def test_a_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    if mode & 0o007:
        with pytest.raises(LuaError, match="closed to all others; chmod o= it"):
            lua.Lua(tmp_path, mode)
    else:
        assert lua.Lua(tmp_path, mode).number() == -1


def test_it_takes_a_whole_policy_only(tmp_path: Path) -> None:
    one = lua.Lua(published(tmp_path, ["bad.test"]))
    packet = dns.message.make_query("late.test", "A", use_edns=False).to_wire()
    assert one.number() == 1
    assert one.query(packet, False, CLIENT) is None
    path = tmp_path / plugin_folder.POLICY
    published(tmp_path, ["bad.test", "late.test"], number=2)
    whole = {each: each.read_bytes() for each in (path, *tmp_path.glob("*.image"))}
    newest = max(tmp_path.glob("*.image"), key=lambda each: each.stat().st_mtime_ns)
    seconds = itertools.count(10**9, 2)
    for each in (path, newest):
        for at in (9, len(whole[each]) // 2, -1):
            damaged = bytearray(whole[each])
            damaged[at] ^= 4
            each.write_bytes(damaged)
            one.at(next(seconds))
            one.look(True)
            assert one.number() == 1
            assert one.said()
        each.write_bytes(whole[each])
    one.look(True)
    assert one.number() == 1, "what is damaged is read once a second, whatever a client asks for"
    one.at(next(seconds))
    one.look(True)
    assert one.number() == 2
    assert one.query(packet, False, CLIENT)[7] == 1


@pytest.mark.parametrize(("apart_s", "most"), [(0.001, 20), (1.0, 3), (30.0, 2)])
def test_a_policy_that_waits_is_taken_by_few_queries_too(apart_s: float, most: int, tmp_path: Path) -> None:
    """A list of 40,000 names takes 13 queries that come at once, and fewer of those that come late."""
    one = lua.Lua(published(tmp_path, ["bad.test"]))
    published(tmp_path, [f"n{number}.test" for number in range(40_000)], number=2)
    packet, taken = dns.message.make_query("good.test", "A", use_edns=False).to_wire(), 0
    while one.number() == 1 and taken < 100:
        one.at(1e9 + taken * apart_s)
        assert one.query(packet, False, CLIENT) is None
        taken += 1
    assert one.number() == 2
    assert (most // 2) < taken <= most


@pytest.mark.parametrize("damage", ["none", "image"])
def test_without_a_policy_everything_is_servfail(damage: str, tmp_path: Path) -> None:
    if damage == "image":
        path = next(published(tmp_path, ["bad.test"]).glob("*.image"))
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    one = lua.Lua(tmp_path)
    for name in ("bad.test", "good.test"):
        said = one.query(dns.message.make_query(name, "A", use_edns=0).to_wire(), False, CLIENT)
        reply = dns.message.from_wire(said)
        assert (dns.rcode.to_text(reply.rcode()), [int(each.code) for each in reply.options]) == ("SERVFAIL", [14])
    assert one.reply(replies()[0], False, CLIENT)[3] & 15 == codes.SERVFAIL


def test_blocks_are_sent_and_synthetic_names_are_not(tmp_path: Path) -> None:
    published(tmp_path, ["bad.test"])
    one = lua.Lua(tmp_path)
    bad = dns.message.make_query("www.bad.test", "AAAA", use_edns=False).to_wire()
    one.query(bad, False, CLIENT)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / plugin_folder.BLOCKS))
        service.settimeout(10)
        synthetic = dns.message.make_query(f"{'s' * 26}.selftest.invalid", "A", use_edns=False).to_wire()
        assert one.query(synthetic, False, CLIENT)[7] == 1
        one.query(bad, False, bytes([192, 0, 2, 10]))
        found = blocks.unpacked(service.recv(1000))
        one.query(bad, False, bytes(range(16)))
        (other,) = blocks.unpacked(service.recv(1000))
    verdict, name = Verdict(), Name()
    assert name.length == 0
    policy, question = plugin_folder.read(tmp_path, KEY, {}), Question()
    parse(bad, len(bad), question)
    decide(policy.generation, question.name, codes.ALL_LISTS, verdict, 28)
    assert found == 2 * [blocks.Block(0, verdict.bits, 28, verdict.low, verdict.high, CLIENT)]
    assert (other.client, other.lost) == (bytes(range(8)) + bytes(8), 0)
    assert octets_of("www.bad.test") not in bytes(str(found), "ascii")
