"""The module inside Unbound, with a stand-in for Unbound: what it answers, what it lets be cached, what it takes out.

tests/peers/test_plugin_unbound.py asks a real Unbound.
"""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resolver.core import codes
from resolver.plugin import blocks
from resolver.plugin import folder as plugin_folder
from resolver.plugin.folder import Writer
from resolver.plugin.unbound import Module
from tests.unit.plugin.parts import KEY, PAGE, published, structured, tables
from tests.unit.query.parts import octets_of

ID = 0
CLIENT = bytes([192, 0, 2, 10])
EXEMPT = bytes([192, 0, 2, 99])
A, AAAA, CNAME = 1, 28, 5
SYNTHETIC = octets_of(f"{'s' * 26}.selftest.invalid")


class Unbound:
    """What a module gets of Unbound: its constants, a message from text, and a cache from which it takes."""

    MODULE_EVENT_NEW, MODULE_EVENT_PASS, MODULE_EVENT_MODDONE = 0, 1, 5
    MODULE_WAIT_MODULE, MODULE_ERROR, MODULE_FINISHED = 2, 5, 6
    PKT_QR, PKT_RA = 1, 32

    def __init__(self) -> None:
        self.said: list[str] = []
        self.taken_out: list[tuple[str, int, int]] = []

    def log_err(self, line: str) -> None:
        self.said.append(line)

    def invalidateQueryInCache(self, qstate: Any, question: Any) -> None:  # noqa: N802 - Unbound's name
        self.taken_out.append((question.qname, question.qtype, qstate.query_flags & 0x10))

    def edns_opt_list_append(self, options: list[Any], code: int, data: bytearray, region: object) -> bool:
        options.append((code, bytes(data)))
        return region is not None

    def DNSMessage(self, name: str, qtype: int, qclass: int, flags: int) -> Any:  # noqa: N802 - Unbound's name
        message = SimpleNamespace(answer=[], authority=[])

        def set_return_msg(qstate: Any) -> bool:
            reply = SimpleNamespace(flags=flags, security=0, text=[*message.answer, *message.authority])
            qinfo = SimpleNamespace(qname=name, qtype=qtype, qclass=qclass)
            qstate.return_msg = SimpleNamespace(rep=reply, qinfo=qinfo)
            return True

        message.set_return_msg = set_return_msg
        return message


def rrset(owner: str, kind: int, *rdata: bytes) -> Any:
    data = [len(one).to_bytes(2, "big") + one for one in rdata]
    key = SimpleNamespace(dname=octets_of(owner), type=socket.htons(kind))
    values = SimpleNamespace(rr_data=data, count=len(data), rrsig_count=0)
    return SimpleNamespace(rk=key, entry=SimpleNamespace(data=values))


def reply_of(*answers: Any, additional: Sequence[Any] = ()) -> Any:
    rrsets = [*answers, *additional]
    counts = {"an_numrrsets": len(answers), "ns_numrrsets": 0, "ar_numrrsets": len(additional)}
    return SimpleNamespace(rep=SimpleNamespace(rrset_count=len(rrsets), rrsets=rrsets, **counts))


def query(name: str | bytes, qtype: int = A, *clients: bytes, qclass: int = 1) -> Any:
    """A query state, with the clients that wait for it."""
    waiting = None
    for one in reversed(clients):
        address = SimpleNamespace(raw_addr=one)
        waiting = SimpleNamespace(query_reply=SimpleNamespace(_addr=address), next=waiting)
    wire = octets_of(name) if isinstance(name, str) else name
    return SimpleNamespace(
        qinfo=SimpleNamespace(qname=wire, qtype=qtype, qclass=qclass),
        query_flags=0x100,
        mesh_info=SimpleNamespace(reply_list=waiting),
        return_msg=None,
        return_rcode=0,
        no_cache_store=0,
        ext_state={},
        edns_opts_front_out=[],
        edns_opts_front_in_iter=[],
        region=object(),
    )


class House:
    """A module in its Unbound, with a published policy and the service's socket."""

    def __init__(self, folder: Path, *, remembered: int = 100) -> None:
        self.folder = folder
        self.ub = Unbound()
        self.now = 100.0
        self.step = 0.0
        (folder / "digest.key").write_bytes(KEY)
        (folder / "digest.key").chmod(0o400)
        self.service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.service.bind(str(folder / plugin_folder.BLOCKS))
        self.service.setblocking(False)
        self.module = Module(
            self.ub, folder, folder / "digest.key", remembered=remembered, clock=self.clock
        )
        assert self.module.init_standard(ID, None)

    def clock(self) -> float:
        """The time, which goes by `step` at each look."""
        self.now += self.step
        return self.now

    def new(self, qstate: Any) -> int:
        assert self.module.operate(ID, self.ub.MODULE_EVENT_NEW, qstate, None)
        return int(qstate.ext_state[ID])

    def done(self, qstate: Any, message: Any) -> int:
        qstate.return_msg = message
        assert self.module.operate(ID, self.ub.MODULE_EVENT_MODDONE, qstate, None)
        return int(qstate.ext_state[ID])

    def blocks(self) -> list[blocks.Block]:
        found = []
        while True:
            try:
                one = blocks.unpacked(self.service.recv(10_000))
            except BlockingIOError:
                return found
            assert one
            found += one


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    published(tmp_path, ["bad.test"], exempt={0: "192.0.2.99/32"})
    one = House(tmp_path)
    yield one
    assert one.module.deinit(ID)
    one.service.close()


def test_a_listed_name_gets_the_page_and_is_never_resolved(house: House) -> None:
    qstate = query("www.bad.test", A, CLIENT)
    assert house.new(qstate) == house.ub.MODULE_FINISHED
    assert qstate.return_msg.rep.text == [f"www.bad.test. 60 IN TYPE1 \\# 4 {PAGE.hex()}"]
    assert (qstate.return_msg.rep.security, qstate.no_cache_store) == (2, 1)
    assert qstate.edns_opts_front_out == [(15, b"\0\4")]
    assert [(one.slot, one.qtype, one.client[12:]) for one in house.blocks()] == [(0, A, CLIENT)]
    nothing = query("bad.test", 16, CLIENT)
    assert house.new(nothing) == house.ub.MODULE_FINISHED
    assert [line.split()[3] for line in nothing.return_msg.rep.text] == ["TYPE6"]


def test_a_client_that_signals_gets_a_structured_error_and_no_page(tmp_path: Path) -> None:
    """Alone: what two clients wait for is one answer, which is the one of who does not signal."""
    Writer(tmp_path, KEY).write(structured(tables((["bad.test"],)), 65001, b'{"c":"why"}', b"{}"))
    house = House(tmp_path)
    for data, waiting, signalled in ((b"", 1, True), (b"x", 1, False), (b"", 2, False)):
        qstate = query("bad.test", A, *[CLIENT, EXEMPT][:waiting])
        qstate.edns_opts_front_in_iter = [SimpleNamespace(code=65001, data=bytearray(data))]
        assert house.new(qstate) == house.ub.MODULE_FINISHED
        kinds = [line.split()[3] for line in qstate.return_msg.rep.text]
        errors = [(15, b'\0\x0f{"c":"why"}')] if signalled else [(15, b"\0\4why")]
        assert (kinds, qstate.edns_opts_front_out) == (["TYPE6"] if signalled else ["TYPE1"], errors)
    assert house.module.deinit(ID)
    house.service.close()


def test_octets_that_are_no_letters_are_escaped(house: House) -> None:
    qstate = query(b"\x03a.\x00" + octets_of("bad.test"), A, CLIENT)
    assert house.new(qstate) == house.ub.MODULE_FINISHED
    assert qstate.return_msg.rep.text[0].startswith("a\\046\\000.bad.test. 60 IN")


def test_an_unlisted_name_is_resolved_and_may_be_cached(house: House) -> None:
    qstate = query("good.test", A, CLIENT)
    assert house.new(qstate) == house.ub.MODULE_WAIT_MODULE
    message = reply_of(rrset("good.test", A, bytes(4)))
    assert house.done(qstate, message) == house.ub.MODULE_FINISHED
    assert qstate.return_msg is message
    assert (qstate.no_cache_store, house.ub.taken_out, house.blocks()) == (0, [], [])


def test_a_reply_that_leads_to_a_listed_name_is_taken_out_and_blocked(house: House) -> None:
    qstate = query("alias.test", AAAA, CLIENT, EXEMPT)
    assert house.new(qstate) == house.ub.MODULE_WAIT_MODULE
    assert house.done(qstate, reply_of(rrset("alias.test", CNAME, octets_of("bad.test")))) == house.ub.MODULE_FINISHED
    assert [line.split()[3] for line in qstate.return_msg.rep.text] == ["TYPE28"]
    both = {("bad.test.", AAAA, 0), ("bad.test.", AAAA, 0x10)}
    assert set(house.ub.taken_out) == {(octets_of("alias.test"), AAAA, 0), *both}, "what it has stored, step by step"
    assert len(house.blocks()) == 1, "the exempt client is not blocked, though it gets the answer of the others"


def test_a_step_of_a_chain_leaves_the_cache_when_it_is_listed(house: House) -> None:
    """Unbound keeps the answer of each step; that of an alias with a TTL of 0 it does not keep."""
    chain = [rrset("x.test", CNAME, octets_of("Y.test")), rrset("y.test", CNAME, octets_of("late.test"))]
    qstate = query("x.test", A, CLIENT)
    house.new(qstate)
    house.done(qstate, reply_of(*chain, rrset("late.test", A, bytes(4))))
    published(house.folder, ["bad.test", "late.test"], number=2)
    house.now += 1
    house.new(query("another.test", A, CLIENT))
    assert {("late.test.", A, 0), ("x.test.", A, 0)} <= set(house.ub.taken_out)


def test_a_large_reply_is_given_and_neither_remembered_nor_cached(house: House) -> None:
    qstate, addresses = query("x.test", A, CLIENT), [bytes([10, 0, 0, one]) for one in range(200)]
    house.new(qstate)
    owner = ".".join(("a" * 50, "b" * 50, "test"))
    message = reply_of(rrset("x.test", CNAME, octets_of(owner)), rrset(owner, A, *addresses))
    house.done(qstate, message)
    assert qstate.return_msg is message
    assert (octets_of("x.test"), A, 0) in house.ub.taken_out
    published(house.folder, ["bad.test", "x.test"], number=2)
    house.now += 1
    house.new(query("another.test", A, CLIENT))
    assert ("x.test.", A, 0) not in house.ub.taken_out, "there is nothing left to take out"


def test_an_answer_that_could_not_be_judged_leaves_the_cache(house: House) -> None:
    qstate = query("x.test", A, CLIENT)
    house.new(qstate)
    message = reply_of(rrset("x.test", CNAME, octets_of("bad.test")))
    message.rep.ns_numrrsets = 1  # One that is not there.
    house.done(qstate, message)
    assert qstate.return_rcode == codes.SERVFAIL
    assert {name for name, _, _ in house.ub.taken_out} == {octets_of("x.test"), "bad.test."}


def test_what_one_client_may_have_is_resolved_without_being_cached(house: House) -> None:
    alone = query("bad.test", A, EXEMPT)
    assert house.new(alone) == house.ub.MODULE_WAIT_MODULE
    assert alone.no_cache_store == 1
    message = reply_of(rrset("bad.test", A, bytes(4)))
    house.done(alone, message)
    assert alone.return_msg is message
    joined = query("bad.test", A, EXEMPT, CLIENT)
    house.done(joined, reply_of(rrset("bad.test", A, bytes(4))))
    assert joined.return_msg.rep.text == [f"bad.test. 60 IN TYPE1 \\# 4 {PAGE.hex()}"], "who joins later is judged too"


def test_unbounds_own_questions_are_resolved_and_not_cached_if_listed(house: House) -> None:
    for name, stored in (("ns.bad.test", 1), ("ns.good.test", 0)):
        qstate = query(name)
        assert house.new(qstate) == house.ub.MODULE_WAIT_MODULE
        assert qstate.no_cache_store == stored
        message = reply_of(rrset(name, A, bytes(4)))
        assert house.done(qstate, message) == house.ub.MODULE_FINISHED
        assert qstate.return_msg is message
    assert house.blocks() == []


def test_a_listed_owner_in_additional_takes_it_away(house: House) -> None:
    qstate = query("good.test", 15, CLIENT)
    house.new(qstate)
    extra = rrset("mail.bad.test", A, bytes(4))
    message = reply_of(rrset("good.test", 15, b"\0\5" + octets_of("mail.bad.test")), additional=[extra])
    house.done(qstate, message)
    assert (message.rep.ar_numrrsets, message.rep.rrset_count) == (0, 1)
    assert house.ub.taken_out == [(octets_of("good.test"), 15, 0)], "the cache has it still"
    assert qstate.return_msg is message


def test_what_was_cached_leaves_when_a_policy_comes_that_blocks_it(house: House) -> None:
    for name, answers in (
        ("good.test", [rrset("good.test", A, bytes(4))]),
        ("late.test", [rrset("late.test", A, bytes(4))]),
        ("to.test", [rrset("to.test", CNAME, octets_of("late.test"))]),
    ):
        qstate = query(name, AAAA if name == "to.test" else A, CLIENT)
        house.new(qstate)
        house.done(qstate, reply_of(*answers))
    published(house.folder, ["bad.test", "late.test"], number=2)
    house.now += 0.5
    house.new(query("other.test", A, CLIENT))
    assert house.ub.taken_out == [], "it looks once a second"
    house.now += 0.5
    qstate = query("another.test", A, CLIENT)
    assert house.new(qstate) == house.ub.MODULE_WAIT_MODULE
    both = {("to.test.", AAAA, 0), ("to.test.", AAAA, 0x10)}
    step = {("late.test.", AAAA, 0), ("late.test.", AAAA, 0x10)}
    assert set(house.ub.taken_out) == {("late.test.", A, 0), *step, *both}, "AAAA for CD=0 and for CD=1"
    assert (qstate.return_msg, qstate.query_flags) == (None, 0x100)


def test_a_synthetic_name_is_answered_once_all_is_in_force(house: House) -> None:
    """And never resolved: Unbound would keep that the name of a list to come does not exist."""
    blocked = query(SYNTHETIC, A, CLIENT)
    assert house.new(blocked) == house.ub.MODULE_FINISHED
    assert blocked.return_msg.rep.text == [f"{'s' * 26}.selftest.invalid. 60 IN TYPE1 \\# 4 {PAGE.hex()}"]
    assert house.blocks() == [], "it is counted in no figure"
    coming = query(octets_of(f"{'t' * 26}.selftest.invalid"), A, CLIENT)
    assert house.new(coming) == house.ub.MODULE_FINISHED
    assert (coming.return_rcode, coming.return_msg) == (codes.SERVFAIL, None)
    for number in range(50):
        qstate = query(f"name-{number}.test", A, CLIENT)
        house.new(qstate)
        house.done(qstate, reply_of(rrset(f"name-{number}.test", A, bytes(4))))
    published(house.folder, ["bad.test"], number=2)
    house.step = 1.0
    pending = query(SYNTHETIC, A, CLIENT)
    house.new(pending)
    assert pending.return_rcode == codes.SERVFAIL, "some that were cached may still be blocked"
    house.step = 0.0
    answered = query(SYNTHETIC, A, CLIENT)
    house.new(answered)
    assert answered.return_rcode == codes.NOERROR


@pytest.mark.parametrize("damage", ["none", "seal"])
def test_without_a_whole_policy_everything_fails(damage: str, tmp_path: Path) -> None:
    if damage == "seal":
        path = next(published(tmp_path, ["bad.test"]).glob("*.image"))
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    house = House(tmp_path)
    for name in ("bad.test", "good.test"):
        qstate = query(name, A, CLIENT)
        assert house.new(qstate) == house.ub.MODULE_FINISHED
        assert (qstate.return_rcode, qstate.no_cache_store) == (codes.SERVFAIL, 1)
        assert qstate.edns_opts_front_out == [(15, b"\0\x0e")]
    assert len(house.ub.said) == 1
    assert house.module.deinit(ID)
    house.service.close()


def test_an_error_in_a_step_is_servfail_and_says_no_name(house: House) -> None:
    qstate = query("www.bad.test", A, CLIENT)
    qstate.mesh_info = None
    assert house.new(qstate) == house.ub.MODULE_FINISHED
    assert qstate.return_rcode == codes.SERVFAIL
    assert "AttributeError" in house.ub.said[0]
    assert "bad" not in house.ub.said[0]
    unknown = query("good.test", A, CLIENT)
    assert house.module.operate(ID, 6, unknown, None)
    assert unknown.ext_state[ID] == house.ub.MODULE_ERROR


def test_another_class_is_refused(house: House) -> None:
    qstate = query("bad.test", A, CLIENT, qclass=3)
    assert house.new(qstate) == house.ub.MODULE_FINISHED
    assert qstate.return_rcode == codes.REFUSED


def test_blocks_that_nobody_takes_are_counted_with_the_next_one(house: House) -> None:
    path = house.folder / plugin_folder.BLOCKS
    path.rename(house.folder / "away")
    for _ in range(blocks.MOST + 3):
        house.new(query("bad.test", A, CLIENT))
    (house.folder / "away").rename(path)
    for _ in range(2):
        house.new(query("bad.test", A, CLIENT))
    found = house.blocks()
    assert len(found) == blocks.MOST + 1
    assert sum(1 + one.lost for one in found) == blocks.MOST + 5, "each is a block, or lost and said"


@pytest.mark.parametrize(("key", "mode"), [(KEY + b"\n", 0o400), (KEY, 0o404)])
def test_a_key_that_cannot_be_used_keeps_unbound_from_starting(key: bytes, mode: int, tmp_path: Path) -> None:
    (tmp_path / "digest.key").write_bytes(key)
    (tmp_path / "digest.key").chmod(mode)
    with pytest.raises(ValueError, match="16 octets, closed"):
        Module(Unbound(), tmp_path, tmp_path / "digest.key").init_standard(ID, None)


def test_it_waits_for_no_other_query(house: House) -> None:
    assert house.module.inform_super(ID, None, None, None)
