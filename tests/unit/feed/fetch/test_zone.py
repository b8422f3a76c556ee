"""The fetch process of a zone from inside: what it asks, what it takes, and what it refuses."""

import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import pytest
from msgspec.structs import replace

from resolver.config.lists import List, Source
from resolver.feed import detail_text, processes
from resolver.feed.details import Code, Detail
from resolver.feed.fetch import child, zone_copy
from resolver.feed.fetch import zone as source_zone
from resolver.feed.fetch.child import contents
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from resolver.signed.metadata import MAX_SERIAL
from tests.fakes.primary import KEY, OTHER, ZONE, Primary, Record, key_file, message, signed, soa

RECORDS: list[Record] = [("@", "NS", "ns.example."), ("bad.test", "CNAME", "."), ("*.bad.test", "CNAME", ".")]


@pytest.fixture
def primary() -> Iterator[Primary]:
    with Primary(serial=7, records=list(RECORDS)).serving() as serving:
        yield serving


@pytest.fixture
def request_of(primary: Primary, tmp_path: Path) -> Iterator[FetchRequest]:
    output = processes.memory_file("list")
    yield FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=primary.url,
        root=str(key_file(tmp_path)),
        target="",
        metadata="",
        ca="",
        certificate="",
        key="",
        max_bytes=10_000,
        memory_bytes=2**31,
        seconds=20.0,
    )
    os.close(output)


def fetched(request: FetchRequest, *, go: bool = True) -> tuple[Facts, bytes]:
    """The facts, and what is in the output then."""
    told: list[Facts] = []

    def wanted(facts: Facts) -> bool:
        told.append(facts)
        return go

    done = source_zone.fetch(request, wanted, clock=lambda: int(time.time()))
    assert done is go
    assert len(told) == 1
    return told[0], os.pread(request.output, 10_000, 0)


def failing(request: FetchRequest) -> str:
    with pytest.raises(Failed) as error:
        source_zone.fetch(request, lambda facts: True)
    assert os.pread(request.output, 10, 0) == b""
    return error.value.reason


def one_of(request: FetchRequest) -> List:
    """The list as the operator has configured it."""
    return List(id="demo", source=Source(kind="zone", url=request.url, root=request.root))


def told(request: FetchRequest) -> str:
    """What the operator reads of a fetch that fails."""
    with pytest.raises(Failed) as error:
        source_zone.fetch(request, lambda facts: True)
    return f"{error.value.reason}: {detail_text.text(error.value.detail, one_of(request))}"


def known_of(request: FetchRequest, facts: Facts, serial: int = 0) -> FetchRequest:
    """The same request of a host that has this list."""
    return replace(
        request,
        serial=serial or facts.custom.serial,
        issued=facts.custom.issued,
        digest=facts.digest,
        targets_keys=facts.targets_keys,
    )


def test_facts_and_lines_of_a_zone(request_of: FetchRequest) -> None:
    before = int(time.time())
    facts, data = fetched(request_of)
    issued = facts.custom.issued
    assert before <= issued <= time.time()
    assert data == b"\n\n=bad.test\n*.bad.test\n\n"
    assert facts.length == len(data)
    assert (facts.custom.serial, facts.custom.expires, facts.format) == (7, None, "rpz")
    assert before <= facts.fresh_until - 86400 <= issued
    assert facts.digest == source_zone.digest_of(dns.name.from_text(ZONE), data)


def test_what_is_not_wanted_is_not_written(request_of: FetchRequest) -> None:
    assert fetched(request_of, go=False)[1] == b""


def test_the_digest_is_that_of_the_set_of_lines() -> None:
    zone, other = dns.name.from_text(ZONE), dns.name.from_text("other.example.")
    lines = [b"=a.test", b"*.a.test", b"!=b.test"]
    digests = {source_zone.digest_of(zone, b"\n".join(order) + b"\n\n") for order in itertools.permutations(lines)}
    assert digests == {source_zone.digest_of(zone, b"\n".join([*lines, *lines]))}
    assert source_zone.digest_of(other, b"\n".join(lines)) not in digests
    assert source_zone.digest_of(zone, b"\n".join(lines[:2])) not in digests


def test_the_serial_that_is_known_is_confirmed_without_a_transfer(request_of: FetchRequest, primary: Primary) -> None:
    facts, _ = fetched(request_of, go=False)
    primary.asked.clear()
    again, _ = fetched(known_of(request_of, facts), go=False)
    assert (again.digest, again.custom) == (facts.digest, facts.custom)
    assert primary.asked == ["SOA"]


def test_a_known_list_whose_image_is_lost_is_transferred_again(request_of: FetchRequest, primary: Primary) -> None:
    facts, _ = fetched(request_of, go=False)
    assert fetched(known_of(request_of, facts))[1] == b"\n\n=bad.test\n*.bad.test\n\n"
    primary.records.append(("more.test", "CNAME", "."))
    os.ftruncate(request_of.output, 0)
    assert failing(known_of(request_of, facts)) == Reason.SERIAL_REUSED


def test_from_date_serials_to_unix_time_in_two_steps() -> None:
    """As the detail of the refusal says."""
    dates, between, now = 2026112801, 4173596448, 1795881600
    assert source_zone.serial_after(dates, now) is None
    first = source_zone.serial_after(dates, between)
    assert first == between
    assert source_zone.serial_after(first, now) == now + 2**32


def test_a_serial_behind_is_rolled_back(request_of: FetchRequest) -> None:
    facts, _ = fetched(request_of, go=False)
    assert failing(known_of(request_of, facts, serial=8)) == Reason.ROLLED_BACK


def test_the_serials_of_another_key_do_not_count(request_of: FetchRequest) -> None:
    facts, _ = fetched(request_of, go=False)
    known = replace(known_of(request_of, facts, serial=8), targets_keys="0" * 32)
    assert fetched(known)[0].custom.serial == 7


@pytest.mark.parametrize(
    ("known", "soa_serial", "serial"),
    [
        (0, 5, 5),
        (0, 0, 2**32),
        (5, 5, 5),
        (5, 6, 6),
        (6, 5, None),
        (2**32 - 1, 0, 2**32),
        (2**32 + 3, 4, 2**32 + 4),
        (2**32 + 3, 2**32 - 1, None),
        (1, 2**31, 2**31),
        (1, 2**31 + 1, None),
        (MAX_SERIAL, MAX_SERIAL % 2**32, MAX_SERIAL),
        (MAX_SERIAL, (MAX_SERIAL + 1) % 2**32, None),
    ],
)
def test_serials_go_on_where_32_bits_wrap_around(known: int, soa_serial: int, serial: int | None) -> None:
    assert source_zone.serial_after(known, soa_serial) == serial


def batches(*records: Record) -> list[list[Record]]:
    return [[soa(7), *RECORDS], [*records, soa(7)]]


@pytest.mark.parametrize(
    "sent",
    [
        [[soa(7), *RECORDS]],
        [[*RECORDS, soa(7)]],
        batches(("bad.elsewhere.", "CNAME", ".")),
        batches(("x.test", "SOA", "ns.example. mail.example. 7 1 1 1 1")),
        [[soa(7), *RECORDS], [soa(8)]],
        [[soa(7), *RECORDS, soa(7), ("late.test", "CNAME", ".")]],
        [[soa(7)], [], [*RECORDS, soa(7)]],
    ],
    ids=["cut-short", "no-soa", "out-of-zone", "soa-below", "other-soa", "behind-the-end", "empty-message"],
)
def test_a_transfer_that_is_no_zone_is_refused(
    sent: list[list[Record]], request_of: FetchRequest, primary: Primary
) -> None:
    primary.script = lambda query: itertools.chain(signed(query, sent), [b""])
    assert failing(request_of) == Reason.TRANSFER


def test_a_transfer_that_never_ends_is_refused(request_of: FetchRequest, primary: Primary) -> None:
    endless = [[soa(7)], *[[(f"n{number}.test", "CNAME", ".")] * 40 for number in range(400)]]
    primary.script = lambda query: itertools.chain(signed(query, endless, last=False), [b""])
    assert failing(replace(request_of, max_bytes=1000)) == Reason.OVERSIZED
    distinct = [[soa(7)], *[[(f"n{number}.test", "CNAME", ".")] for number in range(1000)]]
    primary.script = lambda query: itertools.chain(signed(query, distinct, last=False), [b""])
    assert failing(replace(request_of, max_bytes=1000)) == Reason.OVERSIZED


def test_a_hundred_messages_may_stand_between_two_signatures(request_of: FetchRequest, primary: Primary) -> None:
    records: list[Record] = [(f"n{number}.test", "CNAME", ".") for number in range(250)]
    sent = [[soa(7)], *[[one] for one in records], [soa(7)]]
    primary.script = lambda query: signed(query, sent, every=100)
    assert fetched(request_of)[1].count(b"=n") == 250
    os.ftruncate(request_of.output, 0)
    primary.script = lambda query: itertools.chain(signed(query, sent, every=101), [b""])
    assert failing(request_of) == Reason.TRANSFER


def test_what_a_primary_says_instead_of_its_zone_is_reported(request_of: FetchRequest, primary: Primary) -> None:
    """One thing wrong at a time: each has words of its own, where all of them were once `transfer`."""
    host = f"127.0.0.1:{primary.port}"
    assert told(replace(request_of, url="dns://127.0.0.1:1/rpz.example")) == (
        "unreachable: 127.0.0.1:1: Connection refused"
    )
    primary.rcode = 2
    assert told(request_of) == f"transfer: {host} says SERVFAIL for the zone"
    primary.rcode = 9
    assert told(request_of).startswith(f"denied: {host} says NOTAUTH: ")
    primary.rcode = 5
    assert told(request_of).startswith(f"denied: {host} says REFUSED: ")
    primary.rcode, primary.sign_soa = 0, False
    assert told(request_of).startswith(f"not_signed: the answer of {host} is not signed: ")
    primary.sign_soa, primary.key = True, OTHER
    assert told(request_of).startswith(f"tampered: the signature of {host} does not verify")
    primary.key = KEY
    primary.script = lambda query: iter([message([soa(7), *RECORDS, soa(7)], query.id, "AXFR").to_wire(), b""])
    assert told(request_of) == f"transfer: the transfer from {host} lacks a signature that it must have"
    primary.script = lambda query: itertools.chain(signed(query, [[soa(7), *RECORDS]]), [b""])
    assert told(request_of) == f"transfer: {host} closed the connection before the end of its answer"
    primary.script = lambda query: itertools.chain(signed(query, [[*RECORDS, soa(7)]]), [b""])
    assert told(request_of) == f"transfer: message 1 of the transfer from {host} is malformed"
    primary.script = None
    facts, _ = fetched(request_of, go=False)
    assert told(known_of(request_of, facts, serial=8)) == (
        f"rolled_back: {host} has serial 7, behind 8, the last one (RFC 1982)"
    )
    assert told(known_of(request_of, facts, serial=2026112801)) == (
        f"rolled_back: {host} goes from date serials to unix time, 2026112801 to 7, a step back (RFC 1982): it has to"
        " serve 4173596448 first, until every resolver has it; or both sides take a new TSIG key"
    )
    assert told(replace(request_of, max_bytes=3)) == (
        f"oversized: dns://{host}/rpz.example is larger than the 3 octets allowed"
    )


@pytest.mark.parametrize(("shift", "word"), [(600, "ahead of"), (-600, "behind")])
def test_a_clock_that_differs_is_named_as_such(
    shift: int, word: str, request_of: FetchRequest, primary: Primary
) -> None:
    with pytest.raises(Failed) as error:
        source_zone.fetch(request_of, lambda facts: True, clock=lambda: time.time() - shift)
    said = detail_text.text(error.value.detail, one_of(request_of))
    assert re.fullmatch(rf"the clock of 127.0.0.1:\d+ is (10|9) min {word} this host's \(BADTIME\)", said)


def test_a_key_that_may_not_be_used_says_why(request_of: FetchRequest, tmp_path: Path) -> None:
    md5, short = key_file(tmp_path, "md5", algorithm="hmac-md5"), key_file(tmp_path, "short", secret="c2hvcnQ=")
    said = "the algorithm is hmac-md5; hmac-sha256, -sha384 and -sha512 are accepted"
    assert told(replace(request_of, root=str(md5))) == f"key_unusable: {md5}: {said}"
    assert told(replace(request_of, root=str(short))) == (
        f"key_unusable: {short}: the secret has 5 octets, at least 16 are needed"
    )
    none = str(tmp_path / "none")
    assert told(replace(request_of, root=none)) == f"key_unusable: {none}: No such file or directory"


def test_the_steps_of_a_transfer(request_of: FetchRequest) -> None:
    steps: list[Detail] = []
    child.STEPS.set(steps.append)
    fetched(request_of)
    assert [each.code for each in steps] == [
        Code.STEP_CONNECT,
        Code.STEP_SOA,
        Code.FOUND_SERIAL,
        Code.STEP_TRANSFER,
        Code.FOUND_TRANSFER,
    ]


def test_the_last_message_is_signed(request_of: FetchRequest, primary: Primary) -> None:
    primary.script = lambda query: itertools.chain(signed(query, batches(), every=2, last=False), [b""])
    assert failing(request_of) == Reason.TRANSFER


def test_an_unsigned_transfer_is_refused(request_of: FetchRequest, primary: Primary) -> None:
    primary.script = lambda query: iter([message([soa(7), *RECORDS, soa(7)], query.id, "AXFR").to_wire(), b""])
    assert failing(request_of) == Reason.TRANSFER


def test_a_forged_transfer_is_told_apart(request_of: FetchRequest, primary: Primary) -> None:
    primary.script = lambda query: itertools.chain(signed(query, batches(), key=OTHER), [b""])
    assert failing(request_of) == Reason.TAMPERED


def test_a_message_changed_on_its_way_is_refused(request_of: FetchRequest, primary: Primary) -> None:
    def script(query: dns.message.Message) -> Iterator[bytes]:
        for sent in signed(query, batches(("good.test", "CNAME", "."))):
            yield sent.replace(b"\4good", b"\4evil")
        yield b""

    primary.script = script
    assert failing(request_of) == Reason.TAMPERED


def test_another_id_and_another_question_are_refused(request_of: FetchRequest, primary: Primary) -> None:
    def renumbered(query: dns.message.Message) -> Iterator[bytes]:
        for sent in signed(query, batches()):
            yield bytes([sent[0] ^ 1]) + sent[1:]
        yield b""

    primary.script = renumbered
    assert failing(request_of) == Reason.TRANSFER

    def requestioned(query: dns.message.Message) -> Iterator[bytes]:
        for sent in signed(query, batches()):
            yield sent.replace(b"\3rpz\7example\0\0\xfc", b"\3xyz\7example\0\0\xfc")
        yield b""

    primary.script = requestioned
    assert failing(request_of) == Reason.TRANSFER


def test_no_soa_no_transfer(request_of: FetchRequest, primary: Primary) -> None:
    primary.rcode = 5
    assert failing(request_of) == Reason.DENIED
    primary.rcode, primary.sign_soa = 0, False
    assert failing(request_of) == Reason.NOT_SIGNED
    primary.sign_soa, primary.key = True, OTHER
    assert failing(request_of) in (Reason.TRANSFER, Reason.TAMPERED)
    assert "AXFR" not in primary.asked


def test_nobody_there(request_of: FetchRequest, primary: Primary) -> None:
    assert failing(replace(request_of, url="dns://127.0.0.1:1/rpz.example")) == Reason.UNREACHABLE


def test_a_key_that_may_not_be_used(request_of: FetchRequest, tmp_path: Path) -> None:
    for root in (key_file(tmp_path, "old", algorithm="hmac-md5"), tmp_path / "none"):
        assert failing(replace(request_of, root=str(root))) == Reason.KEY_UNUSABLE
    assert KEY.algorithm.to_text() == "hmac-sha256."


def test_a_url_that_names_no_zone(request_of: FetchRequest) -> None:
    assert failing(replace(request_of, url=f"{request_of.url}..x")) == Reason.UNKNOWN_TARGET


KEY_OF_COPY = bytes(32)


def empty(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)


@pytest.fixture
def incremental(request_of: FetchRequest, primary: Primary, tmp_path: Path) -> Iterator[FetchRequest]:
    """The request of a host that has the zone and a copy of it, just made."""
    key, copies = processes.memory_file("key", KEY_OF_COPY), [processes.memory_file("copy") for _ in range(2)]
    facts, _ = fetched(replace(request_of, copy_key=key, copy_output=copies[0]))
    empty(request_of.output)
    primary.asked.clear()
    yield replace(known_of(request_of, facts), copy_key=key, copy=copies[0], copy_output=copies[1])
    for handle in (key, *copies):
        os.close(handle)


def published(primary: Primary) -> None:
    """One record goes, another comes."""
    primary.publish(8, [*RECORDS[:2], ("worse.test", "A", "192.0.2.1")])


CHANGED = b"=bad.test\n=worse.test\n"


def copy_of(request: FetchRequest, handle: int, serial: int, digest: str) -> zone_copy.Copy:
    zone = dns.name.from_text(ZONE).to_digestable()
    bound = zone_copy.binding(list_id="demo", zone=zone, serial=serial, digest=digest)
    return zone_copy.unseal(contents(handle), KEY_OF_COPY, request.url, bound)


def test_a_difference_is_applied_to_the_copy(incremental: FetchRequest, primary: Primary) -> None:
    published(primary)
    facts, data = fetched(incremental)
    assert primary.asked == ["SOA", "IXFR"]
    assert (data, facts.length, facts.difference, facts.custom.serial) == (CHANGED, len(data), True, 8)
    assert facts.digest == source_zone.digest_of(dns.name.from_text(ZONE), data)
    old = copy_of(incremental, incremental.copy, 7, incremental.digest)
    new = copy_of(incremental, incremental.copy_output, 8, facts.digest)
    assert (new.marks, new.whole_at) == (old.marks, old.whole_at)
    assert len(set(old.entries) & set(new.entries)) == 1


def test_a_list_that_is_not_wanted_leaves_no_copy(incremental: FetchRequest, primary: Primary) -> None:
    published(primary)
    fetched(incremental, go=False)
    assert contents(incremental.copy_output) == b""


def test_an_answer_may_be_the_whole_zone(incremental: FetchRequest, primary: Primary) -> None:
    published(primary)
    primary.difference = lambda query: signed(query, primary.whole())
    facts, data = fetched(incremental)
    assert primary.asked == ["SOA", "IXFR"]
    assert (data, facts.difference) == (CHANGED, False)
    assert copy_of(incremental, incremental.copy_output, 8, facts.digest).entries


def test_nothing_new_is_what_we_have(incremental: FetchRequest, primary: Primary) -> None:
    # The image is lost, or another server behind the same address is not as far: both ways one SOA answers.
    for serial in (7, 8):
        primary.serial = serial
        primary.difference = lambda query: signed(query, [[soa(7)]])
        empty(incremental.output)
        facts, data = fetched(incremental)
        assert (data, facts.digest, facts.custom.serial) == (b"*.bad.test\n=bad.test\n", incremental.digest, 7)
        assert facts.custom.issued == incremental.issued
    assert primary.asked == ["SOA", "IXFR"] * 2


def test_the_whole_zone_is_asked_for_once_a_week(incremental: FetchRequest, primary: Primary) -> None:
    published(primary)
    week = source_zone.WHOLE_AGAIN_S
    for later, way in ((week - 60, "IXFR"), (week + 60, "AXFR"), (-600, "AXFR")):
        primary.asked.clear()
        with pytest.raises(Failed):  # TSIG has this host's time, and the primary goes by it.
            source_zone.fetch(incremental, lambda facts: False, clock=lambda later=later: int(time.time()) + later)
        assert primary.asked[:2] == ["SOA", way]


@pytest.mark.parametrize("handle", ["copy", "copy_key"])
def test_without_copy_or_key_the_whole_zone_is_asked_for(
    handle: str, incremental: FetchRequest, primary: Primary
) -> None:
    published(primary)
    facts, data = fetched(replace(incremental, **{handle: -1}))
    assert primary.asked == ["SOA", "AXFR"]
    assert facts.digest == source_zone.digest_of(dns.name.from_text(ZONE), CHANGED)
    assert set(data.split(b"\n")) == set(CHANGED.split(b"\n"))


def test_a_copy_of_another_serial_or_key_is_none(incremental: FetchRequest, primary: Primary) -> None:
    published(primary)
    for known in (
        replace(incremental, serial=6),
        replace(incremental, digest="0" * 64),
        replace(incremental, targets_keys="0" * 32),
        replace(incremental, list_id="other"),
    ):
        primary.asked.clear()
        fetched(known, go=False)
        assert primary.asked == ["SOA", "AXFR"]


GOES, COMES = ("*.bad.test", "CNAME", "."), ("worse.test", "A", "192.0.2.1")
GOOD: list[Record] = [soa(8), soa(7), GOES, soa(8), COMES, soa(8)]


@pytest.mark.parametrize(
    "sent",
    [
        [soa(8), soa(7), ("none.test", "CNAME", "."), soa(8), COMES, soa(8)],
        [soa(8), soa(7), ("*.bad.test", "CNAME", "*."), soa(8), COMES, soa(8)],
        [soa(8), soa(7), GOES, soa(8), RECORDS[1], soa(8)],
        [soa(8), soa(7), GOES, soa(8), ("worse.elsewhere.", "CNAME", "."), soa(8)],
        [soa(8), soa(6), GOES, soa(8), COMES, soa(8)],
        [soa(9), soa(7), GOES, soa(8), COMES, soa(9)],
        [*GOOD[:-1], soa(9)],
        [],
    ],
    ids=[
        "goes-but-is-not-there",
        "goes-but-is-another-record",
        "comes-but-is-there",
        "out-of-zone",
        "from-another-serial",
        "a-gap",
        "another-end",
        "empty",
    ],
)
def test_of_a_wrong_difference_nothing_is_taken(
    sent: list[Record], incremental: FetchRequest, primary: Primary
) -> None:
    published(primary)
    for batches in ([sent], [[one] for one in sent]):
        primary.difference = lambda query, batches=batches: itertools.chain(signed(query, batches), [b""])
        whole_instead(incremental, primary)


def whole_instead(request: FetchRequest, primary: Primary) -> None:
    """Hold that the whole zone was asked for at once, and is what was taken."""
    primary.asked.clear()
    for handle in (request.output, request.copy_output):
        empty(handle)
    facts, data = fetched(request)
    assert primary.asked == ["SOA", "IXFR", "AXFR"]
    assert (data, facts.difference, facts.custom.serial) == (CHANGED, False, 8)
    assert copy_of(request, request.copy_output, 8, facts.digest).marks


@pytest.mark.parametrize("late", [("late.test", "CNAME", "."), soa(8), ("@", "NS", "ns.example.")])
def test_of_a_difference_with_more_behind_it_nothing_is_taken(
    late: Record, incremental: FetchRequest, primary: Primary
) -> None:
    published(primary)
    primary.difference = lambda query: itertools.chain(signed(query, [[*GOOD, late]]), [b""])
    whole_instead(incremental, primary)


def test_of_a_difference_that_is_cut_endless_or_badly_signed_nothing_is_taken(
    incremental: FetchRequest, primary: Primary
) -> None:
    published(primary)
    split: list[list[Record]] = [[one] for one in GOOD]
    endless = [[soa(8), soa(7)], *[[("x.test", "NS", "ns.example.")] * 600 for _ in range(30)]]
    unsigned = message(GOOD, 0, "IXFR").to_wire()

    def renamed(query: dns.message.Message) -> Iterator[bytes]:
        for one in signed(query, [GOOD]):
            yield one.replace(b"\5worse", b"\5worst")

    def refused(query: dns.message.Message) -> Iterator[bytes]:
        one = message([], query.id, "IXFR")
        one.set_rcode(4)
        one.use_tsig(KEY)
        one.request_mac = query.mac or b""
        yield one.to_wire()

    for script in (
        lambda query: itertools.chain(signed(query, split[:-1]), [b""]),
        lambda query: itertools.chain(signed(query, endless), [b""]),
        lambda query: iter([query.id.to_bytes(2, "big") + unsigned[2:], b""]),
        lambda query: itertools.chain(signed(query, split, every=4, last=False), [b""]),
        lambda query: itertools.chain(signed(query, [GOOD], key=OTHER), [b""]),
        lambda query: iter([b""]),
        renamed,
        refused,
    ):
        primary.difference = script
        whole_instead(incremental, primary)


def test_a_difference_that_makes_too_long_a_list_is_refused(incremental: FetchRequest, primary: Primary) -> None:
    primary.publish(8, [*RECORDS, *((f"n{number}.test", "CNAME", ".") for number in range(90))])
    assert failing(replace(incremental, max_bytes=600)) == Reason.OVERSIZED


def test_a_serial_behind_is_rolled_back_though_a_copy_is_there(incremental: FetchRequest, primary: Primary) -> None:
    primary.serial = 6
    assert failing(incremental) == Reason.ROLLED_BACK
    assert primary.asked == ["SOA"]
